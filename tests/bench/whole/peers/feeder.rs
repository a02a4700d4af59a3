//! The process that enqueues.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::peer::Peer;
use super::site::Site;

/// The running process.
pub(super) struct Feeder {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Feeder {
    pub(super) fn start(peer: Peer, site: &Site) -> Self {
        let mut command = peer.feeder(site);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    /// Enqueues these certificates, and returns once they are in the queue.
    pub(super) fn enqueue(&mut self, certificates: &[String]) {
        writeln!(self.orders, "{}", certificates.join(" ")).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok\n", "the feeder enqueues what it is told");
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}
