//! A line to a server that is far away.

use std::time::Duration;

use certcommit::clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The near end of a line on which each byte is half a round trip under way, and which takes one round trip to set up.
pub(super) fn far_away(stream: TcpStream, round_trip: Duration) -> DuplexStream {
    const BUFFER: usize = 64 * 1024;
    let (near, far) = tokio::io::duplex(BUFFER);
    let (from_client, to_client) = stream.into_split();
    let (from_server, to_server) = tokio::io::split(far);
    tokio::spawn(carry(from_client, to_server, round_trip, round_trip / 2));
    tokio::spawn(carry(from_server, to_client, Duration::ZERO, round_trip / 2));
    near
}

/// Carries bytes from here to there, each so long under way, and none before the line is set up.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    set_up: Duration,
    delay: Duration,
) {
    let stands = clock::now().instant + set_up;
    let (sender, mut on_the_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arriving = tokio::spawn(async move {
        while let Some((at, bytes)) = on_the_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        to.shutdown().await.unwrap_or_default();
    });
    loop {
        let mut bytes = Vec::new();
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let left = clock::now().instant.max(stands);
        if sender.send((left + delay, bytes)).is_err() {
            break;
        }
    }
    drop(sender);
    arriving.await.unwrap();
}
