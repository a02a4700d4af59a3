//! Writing several items: all of them at once or, where a rule of the queue rejects any of them, one by one.

use std::future::Future;

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::rejected_write::RejectedWrite;
use super::savepoint::write_alone;

/// How a batch writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// With as few statements as possible: most of the cost of a batch is a thread switch for each statement.
    AllAtOnce,
    /// One by one, so that a rule that rejects a row affects only that row.
    OneByOne,
}

/// A statement that writes any number of items.
pub(super) trait Write {
    type Item;
    type Output;

    /// Writes all of these items. The outputs are in the order of the items.
    ///
    /// # Errors
    /// [`QueueError::Refused`], if a rule rejected any of them.
    fn write(
        &self,
        connection: &mut SqliteConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Output>, QueueError>> + Send;

    /// An item that a rule rejected with this sentence.
    fn rejected(&self, item: &Self::Item, sentence: String) -> RejectedWrite;
}

/// Writes items in this mode. Returns, in the order of the items, the output of each or, if a rule rejected it, the
/// rejection. Nothing of a rejected item is written.
///
/// # Errors
/// In the mode [`WriteMode::AllAtOnce`], [`QueueError::Refused`] if a rule rejected any item. In the mode
/// [`WriteMode::OneByOne`], [`QueueError::RolledBack`] if a trigger rolled the transaction back.
pub(super) async fn write<W: Write>(
    connection: &mut SqliteConnection,
    mode: WriteMode,
    items: &[W::Item],
    statement: &W,
) -> Result<Vec<Result<W::Output, RejectedWrite>>, QueueError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    if mode == WriteMode::AllAtOnce {
        return Ok(statement.write(connection, items).await?.into_iter().map(Ok).collect());
    }
    let mut written = Vec::new();
    for item in items {
        let alone =
            write_alone(connection, async |connection| statement.write(connection, std::slice::from_ref(item)).await);
        match alone.await.map_err(|error| error.concerning(|sentence| statement.rejected(item, sentence)))? {
            Ok(outputs) => written.extend(outputs.into_iter().map(Ok)),
            Err(sentence) => written.push(Err(statement.rejected(item, sentence))),
        }
    }
    Ok(written)
}
