//! HTTP messages, parsed only far enough to find where each one ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

pub(super) struct Message {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Reads a message with a `Content-Length`; `None` if the peer closed the connection. Bytes after the message stay in `rest`.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    rest: &mut Vec<u8>,
) -> io::Result<Option<Message>> {
    loop {
        if let Some(message) = take_message(rest) {
            return Ok(Some(message));
        }
        if stream.read_buf(rest).await? == 0 {
            return Ok(None);
        }
    }
}

fn take_message(bytes: &mut Vec<u8>) -> Option<Message> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let head = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)? + END_OF_HEAD.len();
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let whole = head + length.map_or(0, |length| length.trim().parse().unwrap());
    (bytes.len() >= whole).then(|| {
        let mut message: Vec<u8> = bytes.drain(..whole).collect();
        let body = message.split_off(head);
        Message { head: message, body }
    })
}
