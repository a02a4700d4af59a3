//! Faults of a running process's system calls, for as long as a test wants them, by `strace` at its side.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use std::io::{BufRead as _, BufReader};
use tokio::sync::mpsc;

use super::{Process, in_time, text};

/// A fault that lasts until it is ended, or dropped.
pub(crate) struct Injection {
    strace: Child,
}

impl Injection {
    /// From now on, system calls of this process meet a fault, as strace's `inject` words it: `fdatasync:error=EIO`,
    /// say. Calls on files count alone if these are named.
    pub(crate) async fn begin(process: &Process, fault: &str, files: &[&Path]) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["--follow-forks", "--quiet=exit", "--output=/dev/null", "--attach"])
            .arg(process.pid().to_string());
        command.arg(format!("--inject={fault}"));
        for file in files {
            command.arg(format!("--trace-path={}", text(file)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().unwrap_or_else(|error| panic!("strace: {error}"));
        let stderr = BufReader::new(strace.stderr.take().unwrap());
        let (sender, mut lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let injection = Self { strace };
        loop {
            let line = in_time("strace to attach", lines.recv()).await.expect("strace attaches");
            if line.contains("attached") {
                return injection;
            }
        }
    }

    /// Ends the fault: the process goes on as if nothing had been.
    pub(crate) fn end(mut self) {
        let pid = self.strace.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.strace.kill().unwrap_or_default();
        self.strace.wait().map(drop).unwrap_or_default();
    }
}
