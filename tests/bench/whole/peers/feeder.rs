//! The process that enqueues.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::peer::Peer;
use super::site::Site;

/// The running process.
pub(super) struct Feeder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Feeder {
    pub(super) fn start(peer: Peer, site: &Site) -> Self {
        let mut command = peer.feeder(site);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// Enqueues these certificates, and returns once they are in the queue.
    pub(super) fn enqueue(&mut self, certificates: &[String]) {
        writeln!(self.input, "{}", certificates.join(" ")).unwrap();
        let mut reply = String::new();
        self.output.read_line(&mut reply).unwrap();
        assert_eq!(reply, "ok\n", "the feeder confirms");
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}
