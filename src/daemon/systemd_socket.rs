//! The notification socket of systemd. Sending never blocks: the usual blocking send would stop the daemon once the queue of
//! a service manager that hangs is full.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

/// The variable that names the socket: a path, or, behind an `@`, a name without a file.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// A socket to send to, if there is one.
#[derive(Debug)]
pub(super) struct NotifySocket(Option<(UnixDatagram, SocketAddr)>);

impl NotifySocket {
    /// The socket that the environment names, if it names one.
    ///
    /// # Errors
    /// When no socket can be made, or the name can't be one.
    pub(super) fn of_environment() -> io::Result<Self> {
        let Some(name) = env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(Self(None));
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        Self::to(address)
    }

    /// No socket.
    pub(super) fn none() -> Self {
        Self(None)
    }

    fn to(address: SocketAddr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// Sends these states as one message.
    ///
    /// # Errors
    /// When the message can't be sent, or would have to wait.
    pub(super) fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some((socket, address)) = &self.0 else {
            return Ok(());
        };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        socket.send_to_addr(message.as_bytes(), address).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_hangs_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let socket = NotifySocket::to(SocketAddr::from_pathname(&path).unwrap()).unwrap();
        let full = (0..100_000).find_map(|_| socket.send(&[NotifyState::Watchdog]).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        let mut message = [0; 100];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"WATCHDOG=1\n");
    }

    #[test]
    fn an_abstract_socket_gets_messages_too() {
        let address = SocketAddr::from_abstract_name(format!("certcommit-{}", std::process::id())).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let socket = NotifySocket::to(address).unwrap();
        socket.send(&[NotifyState::Ready, NotifyState::Status("idle")]).unwrap();
        let mut message = [0; 100];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=idle\n");
    }

    #[test]
    fn without_a_socket_nothing_is_sent() {
        NotifySocket::none().send(&[NotifyState::Ready]).unwrap();
    }
}
