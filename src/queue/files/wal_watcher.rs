//! An inotify watch on the write-ahead log: other processes' changes are noticed at once. Our own changes are noticed too,
//! and so are some reads, so this says when to look for changes, and not that there are any.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::queue::paths::companion;

/// Room for many events: each is 16 bytes long, since a watched file has no name in it.
const BUFFER: usize = 1024;

/// A watch on the write-ahead log of an open database.
#[derive(Debug)]
pub struct WalWatcher(AsyncFd<OwnedFd>);

impl WalWatcher {
    /// Watches the write-ahead log of the database at this path.
    ///
    /// # Errors
    /// When the log isn't there, or the system watches no more files.
    pub fn on(database: &Path) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, companion(database, "-wal"), WatchFlags::MODIFY)?;
        #[expect(deprecated, reason = "unsound for types that lie about their descriptor, which this one doesn't")]
        let watch = AsyncFd::new(watch)?;
        Ok(Self(watch))
    }

    /// Waits until something was written to the log since the last time that this returned. Cancelling this loses nothing.
    /// What was written is visible only once it is synced.
    ///
    /// # Errors
    /// When the watch fails.
    pub async fn noticed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let noticed = drain(self.0.get_ref())?;
            ready.clear_ready();
            if noticed {
                return Ok(());
            }
        }
    }
}

/// Takes all pending events. Whether there were any.
fn drain(watch: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut events = Reader::new(watch, &mut buffer);
    let mut any = false;
    loop {
        match events.next() {
            Ok(_) => any = true,
            Err(Errno::WOULDBLOCK) => return Ok(any),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

    use super::*;
    use crate::queue::{Opening, Queue};

    async fn insert(connection: &mut SqliteConnection, id: &str) {
        let statement = "INSERT INTO submissions (certificate_id) VALUES (?)";
        sqlx::query(statement).bind(id.to_owned()).execute(connection).await.unwrap();
    }

    fn is_silent(watch: &WalWatcher) -> bool {
        let noticed = std::pin::pin!(watch.noticed());
        matches!(noticed.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn what_others_write_is_noticed_once() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        let _queue = Queue::open(&database, Opening::Create).await.unwrap();
        let mut other = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
        let watch = WalWatcher::on(&database).unwrap();
        assert!(is_silent(&watch));
        insert(&mut other, "a").await;
        watch.noticed().await.unwrap();
        assert!(is_silent(&watch));
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_can_not_be_watched() {
        let directory = tempfile::tempdir().unwrap();
        assert!(WalWatcher::on(&directory.path().join("queue.db")).is_err());
    }
}
