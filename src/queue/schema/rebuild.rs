//! Rebuilding a table as certcommit created it, with the existing rows and with what others added to it.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::objects::{Object, Schema};
use super::tokens::definition;
use crate::queue::error::QueueError;
use crate::queue::savepoint::write_alone;

/// Tables whose rows record what happened, and can't be recreated.
const RECORDS: [&str; 2] = ["submissions", "requests"];

/// Rebuilds a table of this schema that is missing or altered.
///
/// # Errors
/// [`QueueError::Refused`] or [`QueueError::Failed`] with the reason, if the existing rows don't allow it; then nothing is
/// changed.
pub(crate) async fn rebuild_table(
    connection: &mut SqliteConnection,
    made: &Object,
    schema: &Schema,
    found: &Schema,
) -> Result<(), QueueError> {
    let is_record = RECORDS.contains(&made.name.as_str());
    let Some(here) = found.find(made) else {
        return if is_record {
            Err(lost("its rows are lost"))
        } else {
            run_all(connection, std::slice::from_ref(&made.sql)).await
        };
    };
    let stored = stored_columns(connection, here).await?;
    let is_stored = |column: &str| stored.iter().any(|stored| stored.eq_ignore_ascii_case(column));
    let has_all = definition(&made.sql).columns().all(is_stored);
    if !has_all && is_record {
        return Err(lost("the values of the missing columns are lost"));
    }
    let aside = quoted(&format!("{} before repair", made.name));
    let name = quoted(&made.name);
    let mut statements = vec![format!("ALTER TABLE {name} RENAME TO {aside}"), with_added_columns(made, here)];
    if has_all {
        let columns = stored.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        statements.push(format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {aside}"));
        statements.extend(sequence(connection, &made.name).await?.map(|number| {
            format!(
                "UPDATE sqlite_sequence SET seq = max(seq, {number}) WHERE name = '{table}';
                 INSERT INTO sqlite_sequence (name, seq) SELECT '{table}', {number}
                  WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{table}')",
                table = made.name,
            )
        }));
    }
    statements.push(format!("DROP TABLE {aside}"));
    // These were dropped with the table. Certcommit's own triggers are created last.
    let triggers = found.all("trigger").filter(|trigger| schema.find(trigger).is_none());
    let dropped = found.all("index").chain(triggers).filter(|object| object.is_on(&made.name));
    statements.extend(dropped.map(|object| object.sql.clone()));
    run_all(connection, &statements).await
}

fn lost(reason: &str) -> QueueError {
    QueueError::Refused(format!("{reason}; restore a backup"))
}

/// The statement that creates the table, with the columns that others added.
fn with_added_columns(made: &Object, here: &Object) -> String {
    let (made_as, here_as) = (definition(&made.sql), definition(&here.sql));
    let is_added = |column: &str| !made_as.columns().any(|ours| ours == column);
    let added = here_as.parts.iter().filter(|part| part.column().is_some_and(is_added));
    let added: String = added.map(|part| format!("  , {}\n", part.text)).collect();
    let (head, tail) = made.sql.split_at(made_as.end);
    format!("{head}{added}{tail}")
}

/// The columns that aren't generated.
async fn stored_columns(connection: &mut SqliteConnection, table: &Object) -> Result<Vec<String>, QueueError> {
    sqlx::query_scalar("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0")
        .bind(&table.name)
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("repairing"))
}

/// The highest number that an AUTOINCREMENT table assigned.
async fn sequence(connection: &mut SqliteConnection, table: &str) -> Result<Option<i64>, QueueError> {
    sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = ?")
        .bind(table)
        .fetch_optional(connection)
        .await
        .map_err(QueueError::of("repairing"))
}

/// Runs statements, all of them or none.
pub(crate) async fn run_all(connection: &mut SqliteConnection, statements: &[String]) -> Result<(), QueueError> {
    let script = AssertSqlSafe(statements.join("\n;\n"));
    let all = async |connection: &mut SqliteConnection| {
        sqlx::raw_sql(script).execute(connection).await.map(drop).map_err(QueueError::of("repairing"))
    };
    write_alone(connection, all).await?.map_err(QueueError::Refused)
}

/// A name, quoted for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn statements_that_fail_halfway_change_nothing() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let statements = ["CREATE TABLE a (x)", "INSERT INTO nowhere VALUES (1)"].map(str::to_owned);
        let error = run_all(&mut transaction, &statements).await.unwrap_err();
        assert!(matches!(error, QueueError::Failed(_)), "{error:?}");
        run_all(&mut transaction, &["CREATE TABLE a (x) -- again".to_owned(), "SELECT x FROM a".to_owned()])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
}
