//! Whether a daemon could work on the database now, as another process finds out: it tries to write in the directory, asks the
//! kernel who holds the write lock, and looks at the daemon's process. It changes nothing, and takes no lock.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::error::QueueError;
use super::files::daemon_lock::daemon_process;
use super::files::filesystem::read_only;
use super::files::location::resolve;
use super::files::process::Process;
use super::files::space::lacks_space;
use super::files::write_lock::write_lock_holder;
use super::paths::{companion, directory_of};
use crate::clock::UnixMillis;

/// A writer usually holds the lock for a few milliseconds. Who holds it each time we ask, keeps everyone else out.
const LOCK_ASKED: u32 = 5;
const ASK_EVERY: Duration = Duration::from_millis(150);

/// What keeps a daemon from working on the database at this path, if anything does. Takes less than a second.
///
/// Only for a process without a connection to the database: it would lose its locks.
///
/// # Errors
/// When the files can't be examined.
pub async fn obstacle(database: &Path) -> Result<Option<QueueError>, QueueError> {
    let Ok(path) = resolve(database) else { return Ok(None) };
    if !path.exists() {
        return Ok(None);
    }
    let directory = directory_of(&path);
    if let Some(how) = read_only(directory) {
        return Ok(Some(QueueError::read_only(&path, how)));
    }
    if let Some(daemon) = daemon_process(&path)?.filter(|daemon| daemon.is_stopped) {
        return Ok(Some(QueueError::DaemonFrozen(daemon)));
    }
    if let Some(free) = lacks_space(directory) {
        return Ok(Some(QueueError::NoSpace { directory: directory.to_owned(), free }));
    }
    let Some(holder) = lasting_holder(&path).await? else { return Ok(None) };
    Ok(Some(QueueError::Locked { holder, last_write: last_write(&path), path }))
}

/// The process that holds the write lock every time we ask.
async fn lasting_holder(database: &Path) -> Result<Option<Option<Process>>, QueueError> {
    let mut holder = None;
    for asked in 0..LOCK_ASKED {
        if asked > 0 {
            tokio::time::sleep(ASK_EVERY).await;
        }
        holder = write_lock_holder(database)?;
        if holder.is_none() {
            break;
        }
    }
    Ok(holder)
}

/// When anybody last wrote to the write-ahead log.
fn last_write(database: &Path) -> Option<UnixMillis> {
    let written = fs::metadata(companion(database, "-wal")).and_then(|log| log.modified()).ok()?;
    written.duration_since(std::time::UNIX_EPOCH).ok().map(UnixMillis::from_duration)
}
