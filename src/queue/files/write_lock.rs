//! Who holds the write lock of a database in WAL mode. Asks the kernel, and takes no lock itself, so nobody is disturbed.
//!
//! SQLite's locks are advisory locks of POSIX on bytes of the `-shm` file and, where a process insists on the database for
//! itself, of the database. <https://www.sqlite.org/walformat.html#wal_locks>

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::queue::error::QueueError;
use crate::queue::files::permission::file_error;
use crate::queue::files::process::Process;
use crate::queue::paths::companion;

/// `WAL_WRITE_LOCK`, a byte of the `-shm` file.
const WAL_WRITE_LOCK: u64 = 120;
/// `RESERVED_BYTE`, a byte of the database: who writes without a write-ahead log, or keeps everyone else out, locks it.
const RESERVED_BYTE: u64 = 0x4000_0001;

/// The process that holds the write lock of the database at this path, if one does; unknown, if it is in another PID namespace,
/// such as another container.
///
/// Only for a process that has no connection to this database: closing the files would release the connection's locks.
///
/// # Errors
/// When a file can't be opened.
pub(crate) fn write_lock_holder(database: &Path) -> Result<Option<Option<Process>>, QueueError> {
    let shm = companion(database, "-shm");
    for (path, byte) in [(shm.as_path(), WAL_WRITE_LOCK), (database, RESERVED_BYTE)] {
        let holder = match File::open(path) {
            Ok(file) => holder(&file, byte),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(holder) = holder.map_err(file_error(path))? {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

fn holder(file: &File, byte: u64) -> io::Result<Option<Option<Process>>> {
    let wanted = Flock { start: byte, length: 1, ..Flock::from(FlockType::WriteLock) };
    let conflicting = fcntl_getlk(file, &wanted)?;
    Ok(conflicting.map(|lock| lock.pid.map(|pid| Process::of(pid.as_raw_pid()))))
}
