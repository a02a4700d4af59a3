//! A bare loop: the system calls that no client of the API can do without, and nothing else.
//!
//! Twenty times a second it wakes up for its slot, sends as many bytes as a request has, wakes up for the answer, reads it,
//! and writes a line to a log. There is no database. What it takes is mostly waking up with cold caches; on a virtual
//! machine that is by what else the machine's host does, from one hour to the next.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use super::support::processor_time;

const ROUNDS: u32 = 200;
/// A round has two of them: until the answer, and until the next slot.
const HALF_A_SLOT: Duration = Duration::from_millis(25);
const REQUEST: [u8; 480] = [b'r'; 480];
const ANSWER: [u8; 200] = [b'a'; 200];
const LINE: [u8; 400] = [b'l'; 400];

/// What a round takes.
pub(crate) fn processor_time_each() -> Duration {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let serving = thread::spawn(|| answer(server));
    let spent = thread::spawn(|| work(client)).join().unwrap();
    serving.join().unwrap();
    spent / ROUNDS
}

/// Until the other side hangs up.
fn answer(mut stream: TcpStream) {
    let mut request = REQUEST;
    while stream.read_exact(&mut request).is_ok() {
        sleep(HALF_A_SLOT);
        stream.write_all(&ANSWER).unwrap();
    }
}

/// What all rounds take.
fn work(mut stream: TcpStream) -> Duration {
    let mut log: File = tempfile::tempfile().unwrap();
    let mut answer = ANSWER;
    let own_time = || processor_time(Path::new("/proc/thread-self")).unwrap();
    let since = own_time();
    for _ in 0..ROUNDS {
        sleep(HALF_A_SLOT);
        stream.write_all(&REQUEST).unwrap();
        stream.read_exact(&mut answer).unwrap();
        log.write_all(&LINE).unwrap();
    }
    own_time() - since
}
