//! A server whose name doesn't resolve, or whose certificate isn't trusted, gets no request.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};

use super::assert_waits_until_fixed;
use crate::support::{Authority, Bench, FaultProxy, Greeting, Process, ids, text};

const HOST: &str = "localhost";
/// A name that no resolver knows (RFC 6761).
const NOWHERE: &str = "certcommit.invalid";

/// A bench whose API speaks TLS, and an authority that the daemon trusts.
struct Secure {
    bench: Bench,
    authority: Authority,
    proxy: FaultProxy,
}

impl Secure {
    async fn with(server: impl FnOnce(&Authority) -> Arc<ServerConfig>) -> Self {
        let mut bench = Bench::new().await;
        let authority = Authority::new("Trusted");
        authority.write(&trusted(&bench));
        let proxy = FaultProxy::with_tls(&bench.simulator, server(&authority)).await;
        bench.set("api.endpoint", &format!("https://{HOST}:{}", proxy.port()));
        Self { bench, authority, proxy }
    }

    /// Asserts that nothing is sent until the server is trusted, and that the log gives the reason in these words.
    async fn assert_waits_for_the_right_server(self, says: &[&str]) {
        let Self { bench, authority, proxy } = self;
        bench.enqueue(&ids(8)).await;
        let daemon = spawn(&bench);
        assert_waits_until_fixed(&bench, daemon, says, async || {
            proxy.greet(Greeting::Serve);
            proxy.set_tls(authority.server(HOST));
        })
        .await;
    }
}

fn trusted(bench: &Bench) -> PathBuf {
    bench.path("authority.pem")
}

fn command(bench: &Bench) -> Command {
    let mut command = bench.command(&["run"]);
    command.env("SSL_CERT_FILE", trusted(bench));
    command
}

fn spawn(bench: &Bench) -> Process {
    Process::spawn(command(bench))
}

#[tokio::test]
async fn orders_go_over_tls_to_a_trusted_server() {
    for (version, spoken) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let Secure { bench, proxy, .. } = Secure::with(|authority| authority.server_with(version, HOST)).await;
        let ids = ids(5);
        bench.enqueue(&ids).await;
        let mut daemon = spawn(&bench);
        super::until_submitted(&mut daemon, ids.len()).await;
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0));
        bench.assert_each_submitted_once(&ids).await;
        let versions = proxy.tls_versions();
        assert!(!versions.is_empty() && versions.iter().all(|version| *version == spoken), "{versions:?}");
        assert_eq!(bench.simulator.arrivals().len(), ids.len());
    }
}

#[tokio::test]
async fn a_server_with_an_unknown_authority_gets_no_request() {
    let secure = Secure::with(|_| Authority::new("Unknown").server(HOST)).await;
    secure.assert_waits_for_the_right_server(&["the server's certificate is not trusted: unknown issuer"]).await;
}

#[tokio::test]
async fn a_server_with_an_expired_certificate_gets_no_request() {
    let secure = Secure::with(|authority| authority.expired_server(HOST)).await;
    secure
        .assert_waits_for_the_right_server(&[
            "the server's certificate is not trusted: it expired at 2021-01-01T00:00:00Z",
        ])
        .await;
}

#[tokio::test]
async fn a_server_with_another_hosts_certificate_gets_no_request() {
    let secure = Secure::with(|authority| authority.server("ssl.example.com")).await;
    secure.assert_waits_for_the_right_server(&["not valid for name", HOST, "ssl.example.com"]).await;
}

#[tokio::test]
async fn a_connection_cut_in_the_handshake_costs_no_try() {
    let secure = Secure::with(|authority| authority.server(HOST)).await;
    secure.proxy.greet(Greeting::Close);
    secure.assert_waits_for_the_right_server(&["client error (Connect): "]).await;
}

#[tokio::test]
async fn a_handshake_that_hangs_costs_no_try() {
    let mut secure = Secure::with(|authority| authority.server(HOST)).await;
    secure.proxy.greet(Greeting::Hang);
    secure.bench.set("api.connect_timeout", "500ms");
    secure.assert_waits_for_the_right_server(&["timed out"]).await;
}

#[tokio::test]
async fn a_server_without_tls_gets_no_request() {
    let secure = Secure::with(|authority| authority.server(HOST)).await;
    secure.proxy.greet(Greeting::Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()));
    secure.assert_waits_for_the_right_server(&["TLS failed: received corrupt message"]).await;
}

#[tokio::test]
async fn an_unresolvable_name_costs_no_try() {
    let mut secure = Secure::with(|authority| authority.server(NOWHERE)).await;
    let endpoint = format!("https://{NOWHERE}:{}", secure.proxy.port());
    secure.bench.set("api.endpoint", &endpoint);
    let Secure { bench, proxy, .. } = secure;
    // The daemon has a hosts file of its own, so that the name can be added later.
    let hosts = bench.path("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", text(&hosts));
    let mut command =
        bench.command_under(&["unshare", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"], &["run"]);
    command.env("SSL_CERT_FILE", trusted(&bench));
    bench.enqueue(&ids(8)).await;
    assert_waits_until_fixed(&bench, Process::spawn(command), &["failed to lookup address"], async || {
        std::fs::write(&hosts, format!("127.0.0.1 {NOWHERE}\n")).unwrap();
    })
    .await;
    assert!(proxy.connections() > 0);
}
