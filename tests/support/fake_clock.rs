//! A fake wall clock for the daemon, by libfaketime. It can be set while the daemon runs; the monotonic clock stays real.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, text};

/// Where distributions keep libfaketime. The first has a folder for each architecture.
const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"];
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The clock. It shows the machine's time until it is set.
pub(crate) struct FakeClock {
    file: PathBuf,
    next: PathBuf,
}

impl Bench {
    pub(crate) fn fake_clock(&self) -> FakeClock {
        let clock = FakeClock { file: self.path("clock"), next: self.path("clock.next") };
        clock.set(0);
        clock
    }
}

impl FakeClock {
    /// Sets the clock this many seconds ahead of the machine's, or behind it.
    pub(crate) fn set(&self, seconds_ahead: i64) {
        // Renamed into place, so that the daemon never reads half a line.
        std::fs::write(&self.next, format!("{seconds_ahead:+}\n")).unwrap();
        std::fs::rename(&self.next, &self.file).unwrap();
    }

    /// Makes a command see this clock.
    pub(crate) fn wrap(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", text(&self.file))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        command
    }
}

fn library() -> PathBuf {
    let folders = LIBRARIES.iter().map(Path::new).flat_map(|folder| {
        let architectures = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(folder.to_owned()).chain(architectures)
    });
    let mut libraries = folders.map(|folder| folder.join(LIBRARY)).filter(|library| library.exists());
    libraries.next().expect("libfaketime is installed (the package faketime)")
}
