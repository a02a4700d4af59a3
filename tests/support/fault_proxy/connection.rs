//! The fault proxy's connections: accepting them, and playing the script.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::Shared;
use super::message::read_message;
use super::script::{Act, Answer, Greeting};
use crate::support::network_distance::far_away;

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let number = {
            let mut state = shared.state();
            state.connections += 1;
            state.connections
        };
        shared.changes.send_replace(());
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Errors are expected: many tests break connections.
            serve(stream, number, &shared).await.unwrap_or_default();
            shared.state().closed += 1;
            shared.changes.send_replace(());
        });
    }
}

async fn serve(mut stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    let (greeting, tls) = {
        let state = shared.state();
        (state.greeting.clone(), state.tls.clone())
    };
    match greeting {
        Greeting::Close => return Ok(()),
        Greeting::Hang => return until_closed(&mut stream).await,
        Greeting::Send(bytes) => {
            stream.write_all(&bytes).await?;
            return until_closed(&mut stream).await;
        }
        Greeting::Serve => {}
    }
    match (tls, shared.distance.is_none()) {
        (None, true) => converse(stream, number, shared).await,
        (None, false) => converse(far_away(stream, shared.distance), number, shared).await,
        (Some(tls), true) => converse_in_tls(stream, tls, number, shared).await,
        (Some(tls), false) => converse_in_tls(far_away(stream, shared.distance), tls, number, shared).await,
    }
}

async fn converse_in_tls(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    tls: Arc<ServerConfig>,
    number: usize,
    shared: &Shared,
) -> io::Result<()> {
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    shared.state().tls_versions.extend(stream.get_ref().1.protocol_version());
    converse(stream, number, shared).await
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: usize, shared: &Shared) -> io::Result<()> {
    let mut hang_up = shared.hang_up.subscribe();
    let mut rest = Vec::new();
    let mut last_sent = Vec::new();
    loop {
        let message = tokio::select! {
            message = read_message(&mut stream, &mut rest) => message?,
            _ = hang_up.changed() => None,
        };
        let Some(message) = message else {
            return stream.shutdown().await;
        };
        let acts = match shared.receive(&message, number) {
            Answer::Forwarded(script) => script(&shared.forward(&message).await?),
            Answer::Withheld(acts) => acts,
        };
        for act in acts {
            match act {
                Act::Send(bytes) => {
                    send(&mut stream, &bytes).await?;
                    last_sent = bytes;
                }
                Act::SendAgain => send(&mut stream, &last_sent).await?,
                Act::Slowly(bytes, pause) => {
                    for byte in bytes {
                        sleep(pause).await;
                        send(&mut stream, &[byte]).await?;
                    }
                }
                Act::Forever(bytes, pause) => loop {
                    send(&mut stream, &bytes).await?;
                    shared.state().endless_bytes += bytes.len();
                    sleep(pause).await;
                },
                Act::Wait(pause) => sleep(pause).await,
                Act::UntilConnections(count) => shared.until(|state| state.connections >= count).await,
                Act::UntilRequests(count) => shared.until(|state| state.received.len() >= count).await,
                Act::Hang => return until_closed(&mut stream).await,
                Act::Close => return stream.shutdown().await,
            }
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Waits until the client closes the connection.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}
