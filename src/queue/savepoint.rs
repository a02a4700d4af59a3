//! What is written so that it can be undone by itself, within a transaction.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;

/// Begins it. One doesn't stand in another.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    run(connection, "SAVEPOINT alone").await
}

/// Ends it; what failed is undone, as far as there is still a transaction.
///
/// # Errors
/// Also [`QueueError::RolledBack`], if a rule rejected the write and rolled the transaction back.
pub(super) async fn end<T>(
    connection: &mut SqliteConnection,
    written: &Result<T, QueueError>,
) -> Result<(), QueueError> {
    let Err(error) = written else { return run(connection, "RELEASE alone").await };
    let undone = run(connection, "ROLLBACK TO alone; RELEASE alone").await;
    match (error, undone) {
        // The savepoint isn't there any more.
        (QueueError::Refused(sentence), Err(QueueError::Failed(_))) => {
            Err(QueueError::RolledBack { sentence: sentence.clone(), refused: None })
        }
        (QueueError::Refused(_), undone) => undone,
        (_, _) => Ok(()),
    }
}

/// Writes within a savepoint. If a rule rejected any of it, nothing of it is written, and its sentence is returned.
pub(super) async fn write_alone<T>(
    connection: &mut SqliteConnection,
    write: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, QueueError>,
) -> Result<Result<T, String>, QueueError> {
    begin(connection).await?;
    let written = write(connection).await;
    end(connection, &written).await?;
    match written {
        Ok(written) => Ok(Ok(written)),
        Err(QueueError::Refused(sentence)) => Ok(Err(sentence)),
        Err(error) => Err(error),
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), QueueError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(QueueError::of("writing a row by itself"))
}
