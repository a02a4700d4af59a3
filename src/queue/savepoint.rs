//! Writes within a transaction that can be undone without the rest of it.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;

/// Writes within a savepoint, which must not be nested. If a rule rejects any part, nothing is written, and the rule's
/// sentence is returned.
///
/// # Errors
/// Also [`QueueError::RolledBack`], if a trigger rejected the write and rolled the whole transaction back.
pub(super) async fn write_alone<T>(
    connection: &mut SqliteConnection,
    write: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, QueueError>,
) -> Result<Result<T, String>, QueueError> {
    run(connection, "SAVEPOINT alone").await?;
    let error = match write(connection).await {
        Ok(written) => return run(connection, "RELEASE alone").await.map(|()| Ok(written)),
        Err(error) => error,
    };
    let undone = run(connection, "ROLLBACK TO alone; RELEASE alone").await;
    match (error, undone) {
        // The trigger's rollback has ended the savepoint.
        (QueueError::Refused(sentence), Err(QueueError::Failed(_))) => {
            Err(QueueError::RolledBack { sentence, refused: None })
        }
        (QueueError::Refused(sentence), undone) => undone.map(|()| Err(sentence)),
        (error, _) => Err(error),
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), QueueError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(QueueError::of("writing a row"))
}
