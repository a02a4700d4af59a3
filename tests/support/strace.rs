//! Injects faults into the system calls of a running process, by `strace`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc;

use super::{Process, in_time, signals, text};

/// A fault that lasts until it is ended or dropped.
pub(crate) struct Injection {
    strace: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Injection {
    /// Injects a fault in strace's syntax, such as `fsync:error=EIO`, into the calls of a process, or only into those on these
    /// files.
    pub(crate) async fn begin(process: &Process, fault: &str, files: &[&Path]) -> Self {
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--quiet=exit", "--attach"]).arg(process.pid().to_string());
        command.arg(format!("--inject={fault}"));
        command.arg(format!("--trace={}", fault.split_once(':').expect("a fault starts with its system calls").0));
        command.args(files.iter().map(|file| format!("--trace-path={}", text(file))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().unwrap_or_else(|error| panic!("strace: {error}"));
        let stderr = BufReader::new(strace.stderr.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut injection = Self { strace, lines };
        injection.until_line("attached").await;
        injection
    }

    /// Waits until the fault has hit this many more calls.
    pub(crate) async fn until_hits(&mut self, calls: usize) {
        for _ in 0..calls {
            self.until_line("(INJECTED)").await;
        }
    }

    async fn until_line(&mut self, what: &str) {
        while !in_time(what, self.lines.recv()).await.expect("strace runs").contains(what) {}
    }

    /// Ends the fault. The process continues normally.
    pub(crate) fn end(mut self) {
        signals::send("INT", self.strace.id());
        self.strace.wait().unwrap();
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.strace.kill().unwrap_or_default();
        self.strace.wait().map(drop).unwrap_or_default();
    }
}
