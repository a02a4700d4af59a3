//! What a test can script: how a connection is handled, and what happens to a request and its reply.

use std::time::Duration;

/// How a new connection is handled.
#[derive(Debug, Clone)]
pub(crate) enum Greeting {
    /// Serve its requests.
    Serve,
    /// Accept and close it.
    Close,
    /// Accept it and do nothing.
    Hang,
    /// Send this before reading anything, and leave closing to the client.
    Send(Vec<u8>),
}

/// The simulator's reply.
pub(crate) struct Reply {
    /// Status line and headers, including the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn whole(&self) -> Vec<u8> {
        [self.head.as_slice(), self.body.as_slice()].concat()
    }
}

/// One step of a reply.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// Send again what was last sent on this connection.
    SendAgain,
    /// Send byte by byte, with this pause before each.
    Slowly(Vec<u8>, Duration),
    /// Send over and over, with this pause in between.
    Forever(Vec<u8>, Duration),
    Wait(Duration),
    /// Wait until this many connections have been accepted.
    UntilConnections(usize),
    /// Wait until this many requests have arrived.
    UntilRequests(usize),
    /// Send nothing more until the client closes the connection.
    Hang,
    Close,
}

/// Turns the simulator's reply into what the client gets.
pub(crate) type ReplyScript = fn(&Reply) -> Vec<Act>;

/// What happens to one request. After the last act, the connection is kept for the next request.
pub(crate) enum Answer {
    /// The simulator gets the request, and this script turns its reply into acts.
    Forwarded(ReplyScript),
    /// The simulator never gets the request.
    Withheld(Vec<Act>),
}
