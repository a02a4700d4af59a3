//! A queue of many rows, inserted through the rules like any row.

use std::fs::File;

use certcommit::clock;
use certcommit::queue::RestoreMarker;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::super::support::Bench;

/// Rows per statement. Each batch writes most pages of the indexes, since IDs and due times are scattered, so a few large
/// batches are cheaper.
const BATCH: i64 = 1_000_000;

/// The SQL expression of a certificate's ID from the number `i`: eight characters, scattered as the service's IDs are, and
/// unique below 2^32.
pub(super) const ID: &str = "printf('%08x', (i * 2654435761) & 4294967295)";

/// Which rows `fill` submits: one in twenty.
const SOME: &str = "id % 20 = 0";

/// Fills an empty queue. Half of the rows are due in the future, ten per second, in every priority, in random order. One in
/// twenty is submitted and one in a hundred failed, with their requests on record.
pub(super) async fn fill(bench: &Bench, rows: i64) {
    fill_and_submit(bench, rows, SOME).await;
}

/// Fills an empty queue with rows that are all submitted, but for one in a hundred, which failed.
pub(crate) async fn fill_with_orders(bench: &Bench, rows: i64) {
    fill_and_submit(bench, rows, "id % 100 <> 2").await;
}

async fn fill_and_submit(bench: &Bench, rows: i64, submitted: &str) {
    let mut connection = bench.connect().await;
    // The data needn't survive a power loss, and each page is written once.
    run(&mut connection, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000").await;
    let mut done = 0;
    while done < rows {
        let next = rows.min(done + BATCH);
        insert(&mut connection, rows, done, next).await;
        done = next;
    }
    run(&mut connection, &finish(submitted, "submitted", "'SO' || r.number, 8, NULL")).await;
    run(&mut connection, &finish("id % 100 = 2", "failed", "NULL, NULL, 'FailedOperation.CertificateInvalid'")).await;
    run(&mut connection, "PRAGMA journal_mode = WAL").await;
    let newest = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM requests").fetch_one(&mut connection);
    // The restore marker must match the requests, or the queue would count as restored.
    RestoreMarker::open(&bench.database()).unwrap().reset(newest.await.unwrap()).unwrap();
    connection.close().await.unwrap();
    // Otherwise the first measured sync would have to write all of it.
    File::open(bench.database()).unwrap().sync_all().unwrap();
}

async fn insert(connection: &mut SqliteConnection, rows: i64, after: i64, up_to: i64) {
    // 7919 is prime and divides none of the sizes, so no two rows are equally far from now.
    let statement = format!(
        "WITH RECURSIVE n(i) AS (SELECT ? + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO submissions (certificate_id, priority, due_at)
         SELECT {ID}, i % 4, ? + ((i * 7919) % ? - ? / 2) / 10 FROM n"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(after)
        .bind(up_to)
        .bind(clock::now().unix.seconds())
        .bind(rows)
        .bind(rows)
        .execute(connection)
        .await
        .unwrap();
}

/// The statements that claim and finish a commit, for all matching rows at once.
fn finish(which: &str, state: &str, result: &str) -> String {
    format!(
        "BEGIN;
         INSERT INTO requests (certificate_id, kind, run_id, run_ms, started_at)
           SELECT certificate_id, 'commit', 'before', 0, 0 FROM submissions WHERE {which};
         UPDATE submissions SET state = 'in_flight' WHERE {which};
         UPDATE requests SET outcome = '{state}', finished_at = 1, http_status = 200, duration_ms = 50
          WHERE finished_at IS NULL;
         UPDATE submissions SET state = '{state}', tries = 1, resolved_by = iif('{state}' = 'submitted', 'reply', NULL),
                (order_id, status, error_code) =
                (SELECT {result} FROM requests r WHERE r.certificate_id = submissions.certificate_id)
          WHERE state = 'in_flight';
         COMMIT"
    )
}

async fn run(connection: &mut SqliteConnection, statements: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(connection).await.unwrap();
}
