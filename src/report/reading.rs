//! Reads what a report is about.

use super::summary::Summary;
use crate::queue::{Queue, QueueError, Story};

/// Reads the certificates that meet the summary's filter, a page at a time, counts them, and passes each on.
///
/// # Errors
/// When the database fails, or with the error of `each`.
pub async fn read<E: From<QueueError>>(
    queue: &mut Queue,
    summary: &mut Summary,
    mut each: impl FnMut(Story) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = 0;
    loop {
        let stories = queue.stories(&summary.filter, after).await?;
        let Some(last) = stories.last() else { return Ok(()) };
        after = last.row.id;
        for story in stories {
            summary.add(&story);
            each(story)?;
        }
    }
}
