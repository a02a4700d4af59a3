//! The program as a process of its own, with nothing but what it is given in its environment.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Bench, in_time, signals, text};

/// Lines of the log that a failure shows.
const SHOWN: usize = 100;

/// A running program and the lines of its log.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    seen: Vec<Value>,
}

impl Bench {
    /// A command of the program with this bench's settings and credentials.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let (secret_id, secret_key) = self.simulator.credentials();
        let mut command = self.command_without_keys(arguments);
        command.env("TENCENTCLOUD_SECRET_ID", secret_id).env("TENCENTCLOUD_SECRET_KEY", secret_key);
        command
    }

    /// A command of the program with this bench's settings, and no credentials.
    pub(crate) fn command_without_keys(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.envs(self.variables());
        command
    }

    /// A command of the program with an empty configuration file, an empty home and no credentials.
    pub(crate) fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_certcommit"));
        command.env_clear().env("HOME", self.directory.path().join("home"));
        command.args(["--config", &text(&self.path("empty.toml"))]).args(arguments);
        command
    }

    /// The same command, run by another program that is given it as its last arguments: `strace`, say. That program
    /// keeps its search path; it has to be installed, or the test fails.
    pub(crate) fn command_under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let (program, options) = wrapper.split_first().expect("a wrapper has a name");
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").expect("there is a search path"));
        command.args(options).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Starts a daemon as a process.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }
}

/// Runs a command to its end, while the stand-in goes on in this thread.
pub(crate) async fn output(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    in_time("a command", output).await.unwrap().unwrap()
}

/// The value of a log line's field `event`.
pub(crate) fn event_of(line: &Value) -> &str {
    line["event"].as_str().unwrap_or_default()
}

impl Process {
    /// Starts a command whose log comes on standard error.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for the next line of this event.
    pub(crate) async fn until_event(&mut self, event: &str) -> Value {
        self.until_line(event, |line| event_of(line) == event).await
    }

    /// Waits for the next line that is so.
    pub(crate) async fn until_line(&mut self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = in_time(what, self.next()).await.unwrap_or_else(|| panic!("it ended without {what}"));
            if so(&line) {
                return line;
            }
        }
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its log so far, as far as they were waited for.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.recv().await?;
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        self.seen.push(line.clone());
        Some(line)
    }

    /// Kills it as the kernel would for want of memory.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signals::send(name, self.pid());
    }

    /// Waits for its end, however it comes.
    pub(crate) async fn wait(mut self) -> ExitStatus {
        while in_time("the end of its log", self.next()).await.is_some() {}
        self.child.wait().unwrap()
    }

    /// Waits for its end: its exit code, and all lines of its log.
    pub(crate) async fn end(mut self) -> (Option<i32>, Vec<Value>) {
        while in_time("the end of its log", self.next()).await.is_some() {}
        let code = self.child.wait().unwrap().code();
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Process {
    /// A test that fails leaves no daemon behind, and shows the end of its log. One that has ended can't be killed, which
    /// is as well.
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        if std::thread::panicking() {
            let seen = self.seen.iter().map(Value::to_string);
            let unseen = std::iter::from_fn(|| self.lines.try_recv().ok());
            let log: Vec<String> = seen.chain(unseen).collect();
            let (_, end) = log.split_at(log.len().saturating_sub(SHOWN));
            println!("the daemon's log ended with:\n{}", end.join("\n"));
        }
    }
}
