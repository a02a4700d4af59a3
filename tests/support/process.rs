//! The program as a process of its own, with a clean environment.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Bench, in_time, signals, text};

/// How many lines at the end of the log a failed test prints.
const LOG_TAIL: usize = 100;

/// A running program, and the lines of its log.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    seen: Vec<Value>,
}

impl Bench {
    /// A command of the program with this bench's settings and credentials.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let (secret_id, secret_key) = self.simulator.credentials();
        let mut command = self.command_without_credentials(arguments);
        command.env("TENCENTCLOUD_SECRET_ID", secret_id).env("TENCENTCLOUD_SECRET_KEY", secret_key);
        command
    }

    /// A command of the program with this bench's settings, and no credentials.
    pub(crate) fn command_without_credentials(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.envs(self.variables());
        command
    }

    /// A command of the program with an empty configuration file, an empty home and no credentials.
    pub(crate) fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_certcommit"));
        command.env_clear().env("HOME", self.directory.path().join("home"));
        command.env("RUNTIME_DIRECTORY", self.runtime.path());
        command.args(["--config", &text(&self.path("empty.toml"))]).args(arguments);
        command
    }

    /// The same command, run by another program that takes it as its last arguments, such as `strace`. The wrapper keeps its
    /// search path.
    pub(crate) fn command_under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let (program, options) = wrapper.split_first().expect("a wrapper has a program");
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").expect("PATH is set"));
        command.args(options).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Starts a daemon as a process.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }
}

/// Runs a command to its end, while the simulator keeps running in this thread.
pub(crate) async fn output(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    in_time("a command", output).await.unwrap().unwrap()
}

/// The field `event` of a log line.
pub(crate) fn event_of(line: &Value) -> &str {
    line["event"].as_str().unwrap_or_default()
}

impl Process {
    /// Starts a command that logs to standard error.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for the next line with this event.
    pub(crate) async fn until_event(&mut self, event: &str) -> Value {
        self.until_line(event, |line| event_of(line) == event).await
    }

    /// Waits for the next line that meets the condition.
    pub(crate) async fn until_line(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = in_time(what, self.next()).await.unwrap_or_else(|| panic!("the process ended without {what}"));
            if condition(&line) {
                return line;
            }
        }
    }

    /// Returns a line that meets the condition: one that was read already, or else the next one.
    pub(crate) async fn until_line_seen(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        match self.seen.iter().find(|line| condition(line)) {
            Some(line) => line.clone(),
            None => self.until_line(what, condition).await,
        }
    }

    /// The process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of the log that were read so far.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.recv().await?;
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        self.seen.push(line.clone());
        Some(line)
    }

    /// Kills it, as the kernel does when memory runs out.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        signals::send(name, self.pid());
    }

    /// Waits for it to exit.
    pub(crate) async fn wait(mut self) -> ExitStatus {
        while in_time("the end of its log", self.next()).await.is_some() {}
        self.child.wait().unwrap()
    }

    /// Waits for it to exit. Returns its exit code and all lines of its log.
    pub(crate) async fn end(mut self) -> (Option<i32>, Vec<Value>) {
        while in_time("the end of its log", self.next()).await.is_some() {}
        let code = self.child.wait().unwrap().code();
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Process {
    /// A failed test leaves no daemon behind, and prints the end of its log. Killing a process that has exited fails, which is
    /// fine.
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        if std::thread::panicking() {
            let seen = self.seen.iter().map(Value::to_string);
            let unseen = std::iter::from_fn(|| self.lines.try_recv().ok());
            let log: Vec<String> = seen.chain(unseen).collect();
            let (_, end) = log.split_at(log.len().saturating_sub(LOG_TAIL));
            println!("the daemon's log ended with:\n{}", end.join("\n"));
        }
    }
}
