//! A SOCKS 5 proxy that requires a user and a password (RFC 1928, RFC 1929). All its connections lead to one port, whatever
//! name is requested.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const BY_PASSWORD: u8 = 2;
const BY_NAME: u8 = 3;

/// The proxy. Dropping it closes its socket.
pub(crate) struct SocksProxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl SocksProxy {
    /// A proxy that connects clients with this user and password to this local port.
    pub(crate) async fn to(port: u16, user: &'static str, password: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let names = Arc::clone(&names);
                tokio::spawn(async move { serve(stream, port, (user, password), &names).await.unwrap_or_default() });
            }
        });
        Self { address, requests, accepting }
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names and ports that were requested.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, port: u16, login: (&str, &str), names: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.read_u8().await?;
    read_text(&mut stream).await?;
    stream.write_all(&[5, BY_PASSWORD]).await?;
    stream.read_u8().await?;
    let (user, password) = (read_text(&mut stream).await?, read_text(&mut stream).await?);
    let is_known = (user.as_str(), password.as_str()) == login;
    stream.write_all(&[1, u8::from(!is_known)]).await?;
    if !is_known {
        return Ok(());
    }
    let mut command = [0; 4];
    stream.read_exact(&mut command).await?;
    assert_eq!(command, [5, 1, 0, BY_NAME], "the client requests a connection to a name");
    let name = read_text(&mut stream).await?;
    let request = format!("{name}:{}", stream.read_u16().await?);
    names.lock().unwrap().push(request);
    let mut target = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut target).await.map(drop)
}

/// Reads a text that its length precedes.
async fn read_text(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
