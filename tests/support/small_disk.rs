//! A disk for a queue, small enough to be filled: a tmpfs in a mount namespace, which needs no root. SQLite can't reach into
//! another namespace, so the program runs in it, and the test reads a copy.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Bench, Process, text, variable};

/// The disk. Dropping it unmounts it.
pub(crate) struct SmallDisk {
    keeper: Child,
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// A disk of this size, such as `1m`, with the bench's queue on it.
    pub(crate) fn with_queue(bench: &Bench, size: &str) -> Self {
        let disk = Self::new(bench, size);
        fs::copy(bench.database(), disk.file("queue.db")).unwrap();
        disk
    }

    /// An empty disk of this size.
    pub(crate) fn new(bench: &Bench, size: &str) -> Self {
        let mounted_at = bench.path("disk");
        fs::create_dir(&mounted_at).unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=$1 tmpfs \"$0\" && echo mounted && exec cat")
            .args([&text(&mounted_at), size])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare: {error}"));
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n", "a small disk can't be mounted");
        Self { keeper, mounted_at }
    }

    /// The path of a file for the test.
    fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.mounted_at.strip_prefix("/").unwrap()).join(name)
    }

    /// The path of a file for the program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mounted_at.join(name)
    }

    /// The names of the files on it.
    pub(crate) fn names(&self) -> Vec<std::ffi::OsString> {
        fs::read_dir(self.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    /// A command of the program with its queue on this disk.
    pub(crate) fn command(&self, bench: &Bench, arguments: &[&str]) -> Command {
        let mut command = bench.command_under(&self.entering().each_ref().map(String::as_str), arguments);
        command.env(variable("database.path"), self.path("queue.db"));
        command
    }

    /// Starts a daemon with its queue on this disk.
    pub(crate) fn spawn(&self, bench: &Bench) -> Process {
        Process::spawn(self.command(bench, &["run"]))
    }

    fn entering(&self) -> [String; 5] {
        let target = format!("--target={}", self.keeper.id());
        ["nsenter", &target, "--user", "--preserve-credentials", "--mount"].map(str::to_owned)
    }

    /// Fills the disk to the last byte.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::create(self.file("filler")).unwrap();
        for size in [4096, 1] {
            let error = std::iter::repeat_with(|| filler.write_all(&vec![0; size])).find_map(Result::err);
            assert_eq!(error.unwrap().kind(), ErrorKind::StorageFull);
        }
    }

    /// Frees the space again.
    pub(crate) fn free(&self) {
        fs::remove_file(self.file("filler")).unwrap();
    }

    /// Remounts it read-only.
    pub(crate) fn make_read_only(&self) {
        let (nsenter, mut arguments) = (self.entering()[0].clone(), self.entering()[1..].to_vec());
        arguments.extend(["mount", "-o", "remount,ro", &text(&self.mounted_at)].map(str::to_owned));
        assert!(Command::new(nsenter).args(arguments).status().unwrap().success());
    }

    /// Copies the queue from the disk back to the bench, after the daemon has ended.
    pub(crate) fn copy_back(&self, bench: &Bench) {
        for name in ["queue.db", "queue.db-wal"] {
            // Pages that couldn't be checkpointed for lack of space are still in the write-ahead log.
            if self.file(name).exists() {
                fs::copy(self.file(name), bench.path(name)).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.keeper.kill().unwrap_or_default();
        self.keeper.wait().map(drop).unwrap_or_default();
    }
}
