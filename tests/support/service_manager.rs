//! A service manager that receives the daemon's notifications, as systemd does: `sd_notify(3)`.

use std::path::PathBuf;
use std::process::Command;

use tokio::net::UnixDatagram;

use super::{Bench, in_time};

/// It listens on a socket in the bench's directory.
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Bench {
    pub(crate) fn service_manager(&self) -> ServiceManager {
        let path = self.path("notify");
        ServiceManager { socket: UnixDatagram::bind(&path).unwrap(), path }
    }
}

impl ServiceManager {
    /// Passes its socket to the command.
    pub(crate) fn supervises(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path);
    }

    /// Waits for a message with a line that starts with this. Returns the whole message.
    pub(crate) async fn until_message(&self, start: &str) -> String {
        loop {
            let message = in_time(start, self.next()).await;
            if message.lines().any(|line| line.starts_with(start)) {
                return message;
            }
        }
    }

    /// The lines of all messages that have arrived and were not read yet.
    pub(crate) async fn unread_lines(&self) -> Vec<String> {
        const LAST: &str = "the last message";
        let own = UnixDatagram::unbound().unwrap();
        own.send_to(LAST.as_bytes(), &self.path).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let message = in_time("the last message", self.next()).await;
            if message == LAST {
                return lines;
            }
            lines.extend(message.lines().map(str::to_owned));
        }
    }

    /// The next message.
    pub(crate) async fn next(&self) -> String {
        let mut message = vec![0; 4096];
        let length = self.socket.recv(&mut message).await.unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}
