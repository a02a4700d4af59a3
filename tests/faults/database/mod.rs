//! Other programs lock, move, restore, alter or damage the database while the daemon uses it.

mod contention;
mod corruption;
mod files;
mod restored;
mod schema;

use std::time::Duration;

use certcommit::simulator::{Options, worst_second};

use crate::support::Bench;

/// How often a test polls for a change that nothing reports.
const POLL: Duration = Duration::from_millis(50);

/// A bench with a slow API, so that a fault hits requests in flight.
async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(150), rate_limit: None, ..Options::default() };
    Bench::with(options, &[("rate.guard", "150ms")]).await
}

async fn assert_sent_once(bench: &Bench, ids: &[impl AsRef<str>]) {
    bench.assert_each_submitted_once(ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), ids.len(), "nothing was sent again");
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= 20, "{worst} in one second");
}

/// Enqueues this many rows that are not due.
async fn enqueue_later(bench: &Bench, rows: usize) {
    bench
        .sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO submissions (certificate_id, due_at) SELECT 'later-' || i, 9999999999 FROM n"
        ))
        .await;
}
