//! The setting of one measurement: a folder with a queue, and a server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::peer::{self, Peer};
use super::server::Server;

/// The setting.
pub(super) struct Site {
    pub(super) server: Server,
    folder: TempDir,
    /// In memory.
    runtime: TempDir,
}

impl Site {
    /// A setting with an empty queue.
    pub(super) async fn new(peer: Peer, latency: Duration) -> Self {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let site = Self { server: Server::start(latency), folder, runtime };
        peer::prepare(peer, &site).await;
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command with the environment that every peer gets.
    pub(super) fn command(&self, program: impl Into<PathBuf>, arguments: &[&str]) -> Command {
        let (secret_id, secret_key) = self.server.simulator.credentials();
        let mut command = Command::new(program.into());
        command.env_clear().args(arguments);
        command.env("PATH", std::env::var_os("PATH").expect("there is a search path"));
        command.env("HOME", self.folder.path()).env("RUNTIME_DIRECTORY", self.runtime.path());
        command.env("BENCH_DATABASE", self.path("queue.db")).env("BENCH_ENDPOINT", self.server.simulator.endpoint());
        command.env("TENCENTCLOUD_SECRET_ID", secret_id).env("TENCENTCLOUD_SECRET_KEY", secret_key);
        command.current_dir(self.folder.path());
        command
    }
}
