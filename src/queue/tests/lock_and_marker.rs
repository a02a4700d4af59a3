//! The files beside the database: the daemon's lock and the restore marker.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tokio::time::{sleep, timeout};

use super::*;

fn new_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("queue.db");
    (directory, database)
}

fn lock_file(database: &std::path::Path) -> PathBuf {
    database.with_file_name("queue.db.lock")
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_daemon_is_alive_as_long_as_it_holds_the_lock() {
    let (_directory, database) = new_path();
    assert!(!daemon_lives(&database).unwrap(), "there is no lock file");
    let lock = DaemonLock::acquire(&database).await.unwrap();
    assert!(daemon_lives(&database).unwrap());
    assert_eq!(fs::read_to_string(lock_file(&database)).unwrap(), format!("{}\n", std::process::id()));
    drop(lock);
    assert!(!daemon_lives(&database).unwrap(), "the lock file stays, but nobody holds it");
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_a_command_that_only_tests_the_lock() {
    let (_directory, database) = new_path();
    fs::write(lock_file(&database), "").unwrap();
    let testing = File::open(lock_file(&database)).unwrap();
    testing.lock_shared().unwrap();
    let release = async {
        sleep(Duration::from_millis(300)).await;
        drop(testing);
    };
    let (lock, ()) = tokio::join!(DaemonLock::acquire(&database), release);
    lock.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_gives_up_when_the_lock_stays_held_and_names_the_holder() {
    for (written, holder) in [("4711\n", "(process 4711)"), ("", "(an unknown process)")] {
        let (_directory, database) = new_path();
        fs::write(lock_file(&database), written).unwrap();
        let held = File::open(lock_file(&database)).unwrap();
        held.lock().unwrap();
        let error = timeout(Duration::from_secs(5), DaemonLock::acquire(&database)).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(holder), "{error}");
        assert_eq!(fs::read_to_string(lock_file(&database)).unwrap(), written, "only the holder writes to it");
    }
}

#[tokio::test]
async fn a_lock_file_is_for_its_owner_and_the_group_unless_its_mode_is_changed() {
    let (_directory, database) = new_path();
    drop(DaemonLock::acquire(&database).await.unwrap());
    assert_eq!(mode(&lock_file(&database)), 0o660);
    fs::set_permissions(lock_file(&database), Permissions::from_mode(0o600)).unwrap();
    drop(DaemonLock::acquire(&database).await.unwrap());
    assert_eq!(mode(&lock_file(&database)), 0o600);
}

#[tokio::test]
async fn a_lock_file_that_cannot_be_created_or_accessed_is_an_error() {
    let (directory, database) = new_path();
    let nowhere = directory.path().join("missing").join("queue.db");
    let error = DaemonLock::acquire(&nowhere).await.unwrap_err();
    assert!(matches!(error, QueueError::Create { .. }), "{error:?}");
    assert!(!daemon_lives(&nowhere).unwrap());
    fs::write(&database, "").unwrap();
    let error = daemon_lives(&database.join("within-a-file.db")).unwrap_err();
    assert!(matches!(error, QueueError::CannotOpen(_)), "{error:?}");
}

#[test]
fn a_marker_holds_no_number_at_first_and_is_only_raised() {
    let (_directory, database) = new_path();
    let mut marker = RestoreMarker::open(&database).unwrap();
    assert_eq!(marker.number(), None);
    for (to, number) in [(7, 7), (8, 8), (8, 8), (3, 8)] {
        marker.advance(to).unwrap();
        assert_eq!(marker.number(), Some(number));
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), Some(number));
    }
}

#[test]
fn a_marker_can_be_reset_to_a_lower_number() {
    let (_directory, database) = new_path();
    let mut marker = RestoreMarker::open(&database).unwrap();
    marker.advance(100).unwrap();
    marker.reset(42).unwrap();
    assert_eq!((marker.number(), RestoreMarker::open(&database).unwrap().number()), (Some(42), Some(42)));
}

#[test]
fn a_marker_may_hold_no_number_and_one_that_cannot_be_read_is_an_error() {
    let (_directory, database) = new_path();
    let file = database.with_file_name("queue.db.mark");
    for text in ["", "12", "this is no number, but it is long enough\n"] {
        fs::write(&file, text).unwrap();
        assert_eq!(RestoreMarker::open(&database).unwrap().number(), None, "{text:?}");
    }
    fs::remove_file(&file).unwrap();
    // Reading a process's memory where there is none is an input/output error.
    symlink("/proc/self/mem", &file).unwrap();
    let error = RestoreMarker::open(&database).unwrap_err();
    assert!(error.to_string().contains("queue.db.mark"), "{error}");
}
