//! The log can't be written, or isn't read. The work continues or waits, and nothing is lost.

use std::fs::File;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};

use certcommit::simulator::Simulator;
use serde_json::Value;

use crate::support::{Bench, event_of, ids, in_time, signals};

/// `O_NONBLOCK` on Linux for x86-64, aarch64 and riscv64.
const NONBLOCKING: i32 = 0o4000;

/// A daemon that is killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn spawn(mut command: Command, log: impl Into<Stdio>) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Stops it. Returns its exit code.
    async fn stop(mut self) -> Option<i32> {
        signals::send("TERM", self.0.id());
        let ended = tokio::task::spawn_blocking(move || self.0.wait().unwrap().code());
        in_time("the daemon's end", ended).await.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

async fn orders(simulator: &Simulator, count: usize) {
    in_time("the orders", simulator.until_orders(count)).await;
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_no_work() {
    let bench = Bench::new().await;
    let ids = ids(3);
    bench.enqueue(&ids).await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    let daemon = Daemon::spawn(bench.command(&["run"]), full);
    orders(&bench.simulator, 3).await;
    assert_eq!(daemon.stop().await, Some(0));
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_stops_no_work() {
    let bench = Bench::new().await;
    let ids = ids(3);
    bench.enqueue(&ids).await;
    let (reader, writer) = std::io::pipe().unwrap();
    let daemon = Daemon::spawn(bench.command(&["run"]), writer);
    drop(reader);
    orders(&bench.simulator, 3).await;
    assert_eq!(daemon.stop().await, Some(0));
    bench.assert_each_submitted_once(&ids).await;
}

#[tokio::test]
async fn a_log_whose_reader_is_stuck_blocks_the_work_and_loses_no_line() {
    let bench = Bench::new().await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let second_writer = writer.try_clone().unwrap();
    let daemon = Daemon::spawn(bench.command(&["run"]), writer);
    let mut log = read_until(&mut reader, "\"ready\"");
    let filling = fill(&second_writer);
    drop(second_writer);
    let ids = ids(5);
    bench.enqueue(&ids).await;
    in_time("a commit", bench.simulator.until_commits(1)).await;
    let mut filled = vec![0; filling];
    reader.read_exact(&mut filled).unwrap();
    orders(&bench.simulator, 5).await;
    assert_eq!(daemon.stop().await, Some(0));
    reader.read_to_string(&mut log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| event_of(line) == "submitted").count(), 5, "{log}");
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 5);
}

/// Reads up to the first line that contains these words.
fn read_until(reader: &mut PipeReader, words: &str) -> String {
    let mut log = String::new();
    let mut byte = [0];
    while !(log.ends_with('\n') && log.contains(words)) {
        reader.read_exact(&mut byte).unwrap();
        log.push(char::from(byte[0]));
    }
    log
}

/// Fills a pipe. Returns how many bytes that took.
fn fill(pipe: &impl std::os::fd::AsFd) -> usize {
    // Opened again, since this end must not block, and the daemon's must.
    let path = format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd());
    let mut pipe = File::options().write(true).custom_flags(NONBLOCKING).open(path).unwrap();
    let mut filled = 0;
    for size in [4096, 1] {
        while let Ok(written) = pipe.write(&vec![b'x'; size]) {
            filled += written;
        }
    }
    filled
}
