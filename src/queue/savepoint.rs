//! What is written so that it can be undone by itself, within a transaction.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;

/// Begins it. One doesn't stand in another.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    run(connection, "SAVEPOINT alone").await
}

/// Ends it; what a rule refused any of is undone.
///
/// # Errors
/// Also [`QueueError::RolledBack`], if the transaction is gone with it.
pub(super) async fn end<T>(
    connection: &mut SqliteConnection,
    written: &Result<T, QueueError>,
) -> Result<(), QueueError> {
    match written {
        Ok(_) => run(connection, "RELEASE alone").await,
        Err(QueueError::Refused(sentence)) => match run(connection, "ROLLBACK TO alone; RELEASE alone").await {
            // It isn't there any more.
            Err(QueueError::Failed(_)) => Err(QueueError::RolledBack { sentence: sentence.clone(), refused: None }),
            ended => ended,
        },
        // The whole transaction is.
        Err(_) => Ok(()),
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), QueueError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(QueueError::of("writing a row by itself"))
}
