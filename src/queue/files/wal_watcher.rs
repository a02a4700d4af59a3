//! An inotify watch on the write-ahead log, which reports other processes' changes at once. It also reports our own changes
//! and some reads, so an event means that there may be changes, not that there are.

use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::queue::paths::companion;

/// Room for many events: each is 16 bytes long, because events of a watched file have no name.
const BUFFER: usize = 1024;

/// A watch on the log of an open database. If files can't be watched, it never reports anything; the event loop also checks
/// for changes periodically.
#[derive(Debug)]
pub struct WalWatcher(Option<Watch>);

impl WalWatcher {
    /// Watches the log of the database at this path.
    #[must_use]
    pub fn on(database: &Path) -> Self {
        Self(Watch::on(database).inspect_err(log_unwatched).ok())
    }

    /// Waits until this or another process has written to the log; forever, if it can't be watched. Cancel-safe. The changes
    /// become visible only after the writer's sync.
    pub async fn changed(&mut self) {
        let Some(watch) = &self.0 else { return pending().await };
        if let Err(error) = watch.noticed().await {
            log_unwatched(&error);
            self.0 = None;
        }
    }
}

fn log_unwatched(error: &io::Error) {
    tracing::info!("cannot watch the queue's files ({error}); checking for changes ten times a second instead");
}

#[derive(Debug)]
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn on(database: &Path) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, companion(database, "-wal"), WatchFlags::MODIFY)?;
        #[expect(deprecated, reason = "unsound for types that lie about their descriptor, which this one doesn't")]
        let watch = AsyncFd::new(watch)?;
        Ok(Self(watch))
    }

    /// Waits until the log is written to. Returns at once if that happened since the last return.
    async fn noticed(&self) -> io::Result<()> {
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

/// Reads all pending events. Returns whether there were any.
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

    fn is_silent(watch: &Watch) -> bool {
        let noticed = std::pin::pin!(watch.noticed());
        matches!(noticed.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn a_write_by_another_connection_is_noticed_once() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("queue.db");
        let _queue = Queue::open(&database, Opening::Create).await.unwrap();
        let mut other = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
        let watch = Watch::on(&database).unwrap();
        assert!(is_silent(&watch));
        insert(&mut other, "a").await;
        watch.noticed().await.unwrap();
        assert!(is_silent(&watch));
    }

    #[tokio::test]
    async fn a_missing_log_cannot_be_watched() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Watch::on(&directory.path().join("queue.db")).is_err());
    }
}
