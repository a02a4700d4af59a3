//! The departure marker: the number of the newest commit that a run handed to the network, in a file that outlives the
//! process but not the machine.
//!
//! A run raises it before it hands a commit over, and never lowers it. So what it had claimed with higher numbers when it died
//! was never sent. An older number would say that of commits that were sent; therefore the marker is in memory, where neither
//! a power failure nor a backup brings an older one back, and it counts only if it names this boot, this database file,
//! itself, and the run that made the claim. While that run lives, it holds a lock on the marker, which then says nothing.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::file_identity::FileIdentity;
use crate::queue::error::QueueError;
use crate::queue::paths::directory_of;

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: u64 = 0x0102_1994;
/// Another value after each boot. <https://docs.kernel.org/admin-guide/sysctl/kernel.html#random>
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The same value, for a process that doesn't see that file.
const BOOT_ID_VARIABLE: &str = "CERTCOMMIT_BOOT_ID";
/// The directory that is used in a runtime directory that programs share.
const DIRECTORY: &str = "certcommit";

/// Where markers can be, and the boot that they are of.
#[derive(Debug, Clone, Default)]
pub struct RuntimeDirectories {
    directories: Vec<PathBuf>,
    boot_id: String,
}

impl RuntimeDirectories {
    /// Those of this process: `$RUNTIME_DIRECTORY`, as systemd sets it; `$XDG_RUNTIME_DIR/certcommit`; `/run/certcommit`.
    #[must_use]
    pub fn of_process(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let of_service = variable("RUNTIME_DIRECTORY").map(PathBuf::from);
        let of_user = variable("XDG_RUNTIME_DIR").map(|shared| Path::new(&shared).join(DIRECTORY));
        let of_machine = Path::new("/run").join(DIRECTORY);
        let given = || variable(BOOT_ID_VARIABLE).and_then(|id| id.into_string().ok()).unwrap_or_default();
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_else(|_| given());
        Self {
            directories: of_service.into_iter().chain(of_user).chain([of_machine]).collect(),
            boot_id: boot_id.trim().to_owned(),
        }
    }

    /// What earlier runs on this database left. A marker that is missing, unreadable or not of this database says nothing.
    #[must_use]
    pub fn departures(&self, database: &FileIdentity) -> Departures {
        let records = self.directories.iter().filter_map(|directory| self.read(directory, database).ok().flatten());
        Departures(records.collect())
    }

    /// Starts the marker of a run, in the first directory that is fit for it, in place of those of earlier runs.
    ///
    /// # Errors
    /// When none is.
    pub fn create(&self, database: &FileIdentity, run_id: &str) -> Result<DepartureMarker, NoMarker> {
        let mut unfit = Vec::new();
        for directory in &self.directories {
            match self.create_in(directory, database, run_id) {
                Ok(marker) => {
                    self.remove_others(&marker);
                    return Ok(marker);
                }
                Err(error) => unfit.push(format!("{}: {error}", directory.display())),
            }
        }
        Err(NoMarker(unfit.join("; ")))
    }

    /// An earlier run may have used another directory. What can't be removed is another user's.
    fn remove_others(&self, marker: &DepartureMarker) {
        let name = marker.path.file_name().unwrap_or_default();
        let others = self.directories.iter().map(|directory| directory.join(name)).filter(|path| *path != marker.path);
        others.for_each(|path| fs::remove_file(path).unwrap_or_default());
    }

    fn read(&self, directory: &Path, database: &FileIdentity) -> io::Result<Option<Record>> {
        require_fit(directory)?;
        let path = directory.join(name_for(database));
        let mut file = File::open(&path)?;
        // A run that lives, although its lock on the database is gone, may still send what it has claimed.
        file.try_lock_shared()?;
        let own = file.metadata()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(Record::parse(&text).filter(|record| text == record.to_text(&self.boot_id, database, &own)))
    }

    fn create_in(&self, directory: &Path, database: &FileIdentity, run_id: &str) -> io::Result<DepartureMarker> {
        if self.boot_id.is_empty() {
            return Err(io::Error::other(format!("{BOOT_ID} can't be read")));
        }
        if !directory.exists() {
            require_in_memory(directory_of(directory))?;
            DirBuilder::new().mode(0o700).create(directory)?;
        }
        require_fit(directory)?;
        let path = directory.join(name_for(database));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.try_lock()?;
        let record = Record { run_id: run_id.to_owned(), newest: 0 };
        let text = record.to_text(&self.boot_id, database, &file.metadata()?);
        file.write_all_at(text.as_bytes(), 0)?;
        let offset = u64::try_from(text.len() - numbers(0).len()).unwrap_or_default();
        Ok(DepartureMarker { file, path, offset, newest: 0 })
    }
}

/// Why there is no marker, for each directory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoMarker(String);

/// What is known of the commits that earlier runs handed to the network; by default, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Departures(Vec<Record>);

impl Departures {
    /// Whether a commit with this number, which this run claimed, was never handed to the network.
    #[must_use]
    pub fn exclude(&self, run_id: &str, request: i64) -> bool {
        let of_run = self.0.iter().filter(|record| record.run_id == run_id);
        of_run.map(|record| record.newest).max().is_some_and(|newest| request > newest)
    }

    /// The number of the newest commit that departed, if any is known.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.0.iter().map(|record| record.newest).max()
    }
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    run_id: String,
    newest: i64,
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
        let value = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let newest = value("newest ")?.split(' ').next()?.parse().ok()?;
        Some(Self { run_id: value("run ")?.to_owned(), newest })
    }

    /// The whole text of a marker: whatever differs from it doesn't count.
    fn to_text(&self, boot_id: &str, database: &FileIdentity, own: &Metadata) -> String {
        let (device, inode) = database.device_and_inode();
        format!(
            "certcommit departures 1\nboot {boot_id}\ndatabase {device}:{inode}\nfile {}:{}\nrun {}\nnewest {}",
            own.dev(),
            own.ino(),
            self.run_id,
            numbers(self.newest),
        )
    }
}

/// A number, twice, so that a write that was cut short shows.
fn numbers(newest: i64) -> String {
    format!("{newest:020} {newest:020}\n")
}

/// The marker of a run, which holds a lock on it until it ends.
pub struct DepartureMarker {
    file: File,
    path: PathBuf,
    /// Where the numbers begin.
    offset: u64,
    newest: i64,
}

impl DepartureMarker {
    /// Raises the marker to this number.
    ///
    /// # Errors
    /// When it can't be written: then the commit must not be handed over.
    pub fn advance(&mut self, request: i64) -> Result<(), QueueError> {
        if request > self.newest {
            let written = self.file.write_all_at(numbers(request).as_bytes(), self.offset);
            written.map_err(|error| QueueError::DepartureMarker { path: self.path.clone(), error })?;
            self.newest = request;
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for DepartureMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DepartureMarker")
            .field("path", &self.path)
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

fn name_for(database: &FileIdentity) -> String {
    let (device, inode) = database.device_and_inode();
    format!("{device:x}-{inode:x}.departures")
}

/// Checks that a directory is in memory, and that nobody else can put a marker into it.
fn require_fit(directory: &Path) -> io::Result<()> {
    let metadata = fs::metadata(directory)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("other users may write to it"));
    }
    require_in_memory(directory)
}

fn require_in_memory(directory: &Path) -> io::Result<()> {
    let is_tmpfs = u64::try_from(rustix::fs::statfs(directory)?.f_type) == Ok(TMPFS);
    if is_tmpfs { Ok(()) } else { Err(io::Error::other("it isn't on a tmpfs")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::queue::{Opening, Queue};

    /// A directory of this user that isn't on a tmpfs, on any machine.
    const ELSEWHERE: &str = "/proc/self/task";

    /// A directory in memory, one with a database, and the files of that.
    async fn site() -> (TempDir, TempDir, FileIdentity) {
        let (memory, home) = (tempfile::tempdir_in("/dev/shm").unwrap(), tempfile::tempdir().unwrap());
        let queue = Queue::open(&home.path().join("queue.db"), Opening::Create).await.unwrap();
        let files = queue.files().clone();
        queue.close().await.unwrap();
        (memory, home, files)
    }

    fn directories(paths: &[&Path]) -> RuntimeDirectories {
        let directories = paths.iter().map(|path| path.to_path_buf()).collect();
        RuntimeDirectories { directories, boot_id: "this-boot".to_owned() }
    }

    #[tokio::test]
    async fn the_marker_of_a_run_that_lives_says_nothing() {
        let (memory, _home, files) = site().await;
        let runtime = directories(&[memory.path()]);
        let marker = runtime.create(&files, "run-1").unwrap();
        assert_eq!(runtime.departures(&files), Departures::default());
        drop(marker);
        assert!(runtime.departures(&files).exclude("run-1", 1));
    }

    #[tokio::test]
    async fn only_what_the_same_run_claimed_after_the_newest_departure_was_never_sent() {
        let (memory, _home, files) = site().await;
        let runtime = directories(&[memory.path()]);
        let cases = [(&[][..], [true, true, true]), (&[7], [false, true, true]), (&[5, 8, 6], [false, false, true])];
        for (departed, never_sent) in cases {
            let mut marker = runtime.create(&files, "run-1").unwrap();
            departed.iter().for_each(|request| marker.advance(*request).unwrap());
            drop(marker);
            let departures = runtime.departures(&files);
            assert_eq!([7, 8, 9].map(|request| departures.exclude("run-1", request)), never_sent, "{departed:?}");
            assert!(!departures.exclude("run-0", 9), "another run says nothing about it");
        }
        assert!(!Departures::default().exclude("run-1", 9));
    }

    #[tokio::test]
    async fn the_next_run_takes_the_place_of_the_last_one_in_whatever_directory() {
        let (memory, _home, files) = site().await;
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let runtime = directories(&[memory.path(), elsewhere.path()]);
        for before in [&runtime, &directories(&[elsewhere.path()])] {
            before.create(&files, "run-1").unwrap().advance(7).unwrap();
            assert!(runtime.departures(&files).exclude("run-1", 8));
            runtime.create(&files, "run-2").unwrap();
            let departures = runtime.departures(&files);
            assert!(!departures.exclude("run-1", 8) && departures.exclude("run-2", 8));
        }
    }

    #[tokio::test]
    async fn a_marker_of_another_boot_or_database_or_one_that_was_copied_or_cut_short_says_nothing() {
        let (memory, home, files) = site().await;
        let runtime = directories(&[memory.path()]);
        runtime.create(&files, "run-1").unwrap().advance(7).unwrap();
        assert!(runtime.departures(&files).exclude("run-1", 8));
        let rebooted = RuntimeDirectories { boot_id: "another-boot".to_owned(), ..runtime.clone() };
        assert_eq!(rebooted.departures(&files), Departures::default());

        let copy = home.path().join("copy.db");
        let queue = Queue::open(&copy, Opening::Create).await.unwrap();
        assert_eq!(runtime.departures(queue.files()), Departures::default());
        let path = memory.path().join(name_for(&files));
        fs::copy(&path, memory.path().join(name_for(queue.files()))).unwrap();
        assert_eq!(runtime.departures(queue.files()), Departures::default(), "it names its database");

        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::copy(&path, elsewhere.path().join(name_for(&files))).unwrap();
        assert_eq!(directories(&[elsewhere.path()]).departures(&files), Departures::default(), "it names itself");

        let whole = fs::read_to_string(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(runtime.departures(&files), Departures::default(), "{end} bytes");
        }
        fs::write(&path, whole.replacen("07 ", "08 ", 1)).unwrap();
        assert_eq!(runtime.departures(&files), Departures::default(), "the numbers differ");
        fs::write(&path, &whole).unwrap();
        assert!(runtime.departures(&files).exclude("run-1", 8));
    }

    #[tokio::test]
    async fn a_directory_that_is_not_in_memory_or_open_to_others_is_passed_over() {
        let (memory, _home, files) = site().await;
        let open = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let fit = memory.path().join("created");
        let marker = directories(&[Path::new(ELSEWHERE), open.path(), &fit]).create(&files, "run-1").unwrap();
        assert_eq!(marker.path().parent(), Some(fit.as_path()));
        assert_eq!(fs::metadata(&fit).unwrap().mode() & 0o777, 0o700);
        let unfit = directories(&[Path::new(ELSEWHERE), open.path(), &Path::new(ELSEWHERE).join("created")]);
        let error = unfit.create(&files, "run-1").unwrap_err().to_string();
        assert!(error.contains("it isn't on a tmpfs") && error.contains("other users may write to it"), "{error}");
        assert!(!Path::new(ELSEWHERE).join("created").exists());
        let unknown_boot = RuntimeDirectories { boot_id: String::new(), ..directories(&[memory.path()]) };
        assert!(unknown_boot.create(&files, "run-1").is_err());
    }

    #[test]
    fn the_service_s_directory_comes_before_the_user_s_and_the_machine_s() {
        let variable = |name: &str| match name {
            "RUNTIME_DIRECTORY" => Some("/run/service".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            _ => None,
        };
        let of_process =
            |variable: &dyn Fn(&str) -> Option<OsString>| RuntimeDirectories::of_process(variable).directories;
        assert_eq!(
            of_process(&variable),
            ["/run/service", "/run/user/7/certcommit", "/run/certcommit"].map(PathBuf::from)
        );
        assert_eq!(of_process(&|_| None), [PathBuf::from("/run/certcommit")]);
    }
}
