//! Connections to a distant server.

use std::time::Duration;

use certcommit::clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How far away a server is, in time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Distance {
    pub(crate) round_trip: Duration,
    /// Up to this much is added in each direction, uniformly distributed.
    pub(crate) jitter: Duration,
}

impl Distance {
    pub(super) fn is_none(self) -> bool {
        self.round_trip.is_zero() && self.jitter.is_zero()
    }

    fn one_way(self) -> Duration {
        self.round_trip / 2 + self.jitter.mul_f64(fastrand::f64())
    }
}

/// The near end of a connection on which each byte travels for half a round trip, and which takes one round trip to establish.
pub(super) fn far_away(stream: TcpStream, distance: Distance) -> DuplexStream {
    const BUFFER: usize = 64 * 1024;
    let (near, far) = tokio::io::duplex(BUFFER);
    let (from_client, to_client) = stream.into_split();
    let (from_server, to_server) = tokio::io::split(far);
    tokio::spawn(carry(from_client, to_server, distance.round_trip, distance));
    tokio::spawn(carry(from_server, to_client, Duration::ZERO, distance));
    near
}

/// Carries bytes in order, each with the delay, and none before the connection is established.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    set_up: Duration,
    distance: Distance,
) {
    let established = clock::now().instant + set_up;
    let (sender, mut in_transit) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arriving = tokio::spawn(async move {
        while let Some((at, bytes)) = in_transit.recv().await {
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
        let departed = clock::now().instant.max(established);
        if sender.send((departed + distance.one_way(), bytes)).is_err() {
            break;
        }
    }
    drop(sender);
    arriving.await.unwrap();
}
