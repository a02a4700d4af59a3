//! The files of a queue: where they are, who may use them, and the files that certcommit keeps beside the database.

pub(crate) mod daemon_lock;
pub(crate) mod departure_marker;
pub(crate) mod file_identity;
pub(crate) mod filesystem;
pub(crate) mod location;
pub(crate) mod permission;
pub(crate) mod process;
pub(crate) mod restore_marker;
pub(crate) mod shared_file;
pub(crate) mod space;
pub(crate) mod wal_watcher;
pub(crate) mod write_lock;
