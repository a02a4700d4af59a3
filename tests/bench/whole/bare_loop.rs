//! A bare loop with only the system calls that every client of the API needs.
//!
//! Twenty times a second it wakes up for its slot, sends as many bytes as a request has, wakes up for the reply, reads it, and
//! writes a log line. There is no database. Most of its CPU time is waking up with cold caches, which on a virtual machine
//! depends on what else the host does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use super::support::processor_time;

const ROUNDS: u32 = 200;
/// A round waits twice: for the reply, and for the next slot.
const HALF_A_SLOT: Duration = Duration::from_millis(25);
const REQUEST: [u8; 480] = [b'r'; 480];
const REPLY: [u8; 200] = [b'a'; 200];
const LINE: [u8; 400] = [b'l'; 400];

/// The CPU time of a round.
pub(crate) fn processor_time_each() -> Duration {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let serving = thread::spawn(|| reply(server));
    let spent = thread::spawn(|| work(client)).join().unwrap();
    serving.join().unwrap();
    spent / ROUNDS
}

/// Runs until the other side closes the connection.
fn reply(mut stream: TcpStream) {
    let mut request = REQUEST;
    while stream.read_exact(&mut request).is_ok() {
        sleep(HALF_A_SLOT);
        stream.write_all(&REPLY).unwrap();
    }
}

/// The CPU time of all rounds.
fn work(mut stream: TcpStream) -> Duration {
    let mut log: File = tempfile::tempfile().unwrap();
    let mut reply = REPLY;
    let own_time = || processor_time(Path::new("/proc/thread-self")).unwrap();
    let since = own_time();
    for _ in 0..ROUNDS {
        sleep(HALF_A_SLOT);
        stream.write_all(&REQUEST).unwrap();
        stream.read_exact(&mut reply).unwrap();
        log.write_all(&LINE).unwrap();
    }
    own_time() - since
}
