//! The outside process that enqueues.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::peer::Peer;
use super::site::Site;

/// A running one.
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

    /// Enqueues these, and returns once the queue has them.
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
