//! Proxies: a request that fails before the tunnel and TLS are established was not sent; one that fails afterwards is in doubt.
//! Either way, the log names the proxy.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::{assert_waits_until_fixed, message_of, until_submitted};
use crate::support::{
    Act, Answer, Authority, Bench, ConnectProxy, FaultProxy, Process, SocksProxy, TunnelReply, ids, output,
};

/// A name that only the proxy resolves.
const HOST: &str = "ssl.certcommit.invalid";
const HTML: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 29\r\n\r\n<html>Please log in.</html>\r\n";

/// A bench whose API speaks TLS and can be reached only through a proxy.
struct Behind {
    bench: Bench,
    authority: Authority,
    api: FaultProxy,
    proxy: ConnectProxy,
}

impl Behind {
    async fn new() -> Self {
        let behind = Self::unset().await;
        let url = behind.proxy.url();
        behind.set("api.proxy", &url)
    }

    /// The same, without the proxy in the settings.
    async fn unset() -> Self {
        let mut bench = Bench::new().await;
        let authority = Authority::new("Trusted");
        authority.write(&trusted(&bench));
        let api = FaultProxy::with_tls(&bench.simulator, authority.server(HOST)).await;
        let proxy = ConnectProxy::to(api.port()).await;
        bench.set("api.endpoint", &format!("https://{HOST}"));
        Self { bench, authority, api, proxy }
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.bench.set(key, value);
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command(arguments);
        command.env("SSL_CERT_FILE", trusted(&self.bench));
        command
    }

    fn spawn(&self) -> Process {
        Process::spawn(self.command(&["run"]))
    }

    /// Asserts that nothing is sent while the proxy replies like this, that the log gives the reason in these words and names the
    /// proxy, and that everything is sent once tunnels are granted.
    async fn assert_waits_for_tunnels(self, reply: TunnelReply, says: &[&str]) {
        self.proxy.reply_with(reply);
        let address = self.proxy.address();
        self.assert_waits_until(&[says, &[&address]].concat(), |proxy, _, _| proxy.reply_with(TunnelReply::Grant))
            .await;
    }

    async fn assert_waits_until(self, says: &[&str], fix: impl FnOnce(&ConnectProxy, &FaultProxy, Arc<ServerConfig>)) {
        let daemon = self.spawn();
        let Self { bench, authority, api, proxy } = self;
        bench.enqueue(&ids(8)).await;
        assert_waits_until_fixed(&bench, daemon, says, async || fix(&proxy, &api, authority.server(HOST))).await;
    }
}

fn trusted(bench: &Bench) -> PathBuf {
    bench.path("authority.pem")
}

#[tokio::test]
async fn orders_go_through_a_proxys_tunnel_which_is_reused() {
    let behind = Behind::new().await;
    let mut daemon = behind.spawn();
    let ids = ids(5);
    for id in &ids {
        behind.bench.enqueue(&[id]).await;
        daemon.until_line("its order", |line| line["event"] == "submitted" && line["certificate_id"] == **id).await;
    }
    let through = format!("requests go through the proxy {}, from api.proxy", behind.proxy.address());
    assert!(daemon.seen().iter().any(|line| line["message"] == *through), "{:#?}", daemon.seen());
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    behind.bench.assert_each_submitted_once(&ids).await;
    let requests = behind.proxy.requests();
    assert_eq!((requests.len(), behind.proxy.tunnels(), behind.api.connections()), (1, 1, 1), "{requests:#?}");
    assert!(requests[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")), "{requests:#?}");
    assert_eq!(behind.bench.simulator.arrivals().len(), ids.len());
}

#[tokio::test]
async fn a_proxy_that_requires_a_password_costs_no_try() {
    let reply = TunnelReply::GrantTo("Basic dXNlcjpwYXNzd29yZA==");
    let says = ["requires a user and a password (HTTP 407): set api.proxy"];
    Behind::new().await.assert_waits_for_tunnels(reply, &says).await;
}

#[tokio::test]
async fn a_proxy_that_rejects_the_password_costs_no_try() {
    let behind = Behind::new().await;
    let url = behind.proxy.url().replace("http://", "http://user:wrong@");
    let reply = TunnelReply::GrantTo("Basic dXNlcjpwYXNzd29yZA==");
    let says = ["rejects the user or the password (HTTP 407): correct api.proxy"];
    behind.set("api.proxy", &url).assert_waits_for_tunnels(reply, &says).await;
}

#[tokio::test]
async fn a_proxy_that_forbids_the_tunnel_costs_no_try() {
    let reply = TunnelReply::Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let says = ["forbids a tunnel to ssl.certcommit.invalid:443 (HTTP 403)"];
    Behind::new().await.assert_waits_for_tunnels(reply, &says).await;
}

#[tokio::test]
async fn a_proxy_that_can_not_resolve_or_reach_the_api_costs_no_try() {
    for (status, answer) in [
        ("502", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        ("503", "HTTP/1.0 503 Service Unavailable\r\n\r\n<html>unable to resolve</html>"),
        ("504", "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let says = format!("can't reach {HOST}:443 (HTTP {status})");
        Behind::new().await.assert_waits_for_tunnels(TunnelReply::Send(answer), &[&says]).await;
    }
}

#[tokio::test]
async fn a_page_instead_of_a_tunnel_costs_no_try() {
    Behind::new()
        .await
        .assert_waits_for_tunnels(TunnelReply::Send(HTML), &["through the proxy ", "it may have sent a page instead"])
        .await;
}

#[tokio::test]
async fn a_proxy_that_does_not_speak_http_costs_no_try() {
    let says = ["refuses a tunnel to ssl.certcommit.invalid:443 and doesn't speak HTTP; is it an HTTP proxy?"];
    Behind::new().await.assert_waits_for_tunnels(TunnelReply::Send("220 mail.example ESMTP\r\n"), &says).await;
}

#[tokio::test]
async fn a_proxy_that_cuts_the_connection_before_the_tunnel_costs_no_try() {
    let says = ["closed the connection when asked for a tunnel to ssl.certcommit.invalid:443"];
    Behind::new().await.assert_waits_for_tunnels(TunnelReply::Close, &says).await;
}

#[tokio::test]
async fn a_tunnel_cut_before_tls_costs_no_try() {
    Behind::new()
        .await
        .assert_waits_for_tunnels(
            TunnelReply::GrantThenClose,
            &["It granted a tunnel and closed it before TLS was established"],
        )
        .await;
}

#[tokio::test]
async fn a_proxy_that_does_not_reply_costs_no_try() {
    let behind = Behind::new().await.set("api.connect_timeout", "500ms");
    behind.assert_waits_for_tunnels(TunnelReply::Hang, &["through the proxy ", "timed out"]).await;
}

#[tokio::test]
async fn an_unreachable_proxy_costs_no_try() {
    let behind = Behind::new().await;
    let listener = ConnectProxy::listener().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let behind = behind.set("api.proxy", &format!("http://{address}"));
    let says = format!("the API can't be reached: the proxy {address} can't be reached: ");
    behind.bench.enqueue(&ids(8)).await;
    let mut daemon = behind.spawn();
    let paused = daemon.until_event("paused").await;
    let why = paused["why"].as_str().unwrap();
    assert!(why.starts_with(&says) && why.contains("Connection refused"), "{why}");
    let rows = behind.bench.rows().await;
    assert!(rows.iter().all(|row| row.tries == 0), "{rows:?}");
}

#[tokio::test]
async fn a_proxy_that_intercepts_tls_with_an_untrusted_authority_gets_no_request() {
    let behind = Behind::new().await;
    behind.api.set_tls(Authority::new("The proxy's own").server(HOST));
    let says = [
        "through the proxy ",
        &behind.proxy.address(),
        "the server's certificate is not trusted: unknown issuer",
        "add its authority to this machine's, or set SSL_CERT_FILE",
    ];
    behind.assert_waits_until(&says, |_, api, trusted| api.set_tls(trusted)).await;
}

#[tokio::test]
async fn a_proxy_may_intercept_tls_with_an_authority_that_is_trusted_here() {
    let behind = Behind::new().await;
    let own = Authority::new("The proxy's own");
    own.write(&trusted(&behind.bench));
    behind.api.set_tls(own.server(HOST));
    behind.bench.enqueue(&ids(3)).await;
    let ended = output(behind.command(&["run", "--until-empty"])).await;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    behind.bench.assert_each_submitted_once(&ids(3)).await;
}

#[tokio::test]
async fn a_failure_after_departure_in_the_tunnel_is_in_doubt_and_names_the_proxy() {
    let behind = Behind::new().await;
    let cases = [
        ("cut", vec![Act::Close], "connection closed before message completed"),
        ("page", vec![Act::Send(HTML.into())], "the reply was not JSON, or was cut off"),
        (
            "bad-gateway",
            vec![Act::Send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec())],
            "the reply was HTTP 502",
        ),
    ];
    let mut daemon = behind.spawn();
    for (id, acts, _) in &cases {
        behind.api.script(id, Answer::Withheld(acts.clone()));
        behind.bench.enqueue(&[id]).await;
    }
    until_submitted(&mut daemon, cases.len()).await;
    daemon.signal("TERM");
    let (_, lines) = daemon.end().await;
    for (id, _, says) in &cases {
        let line = message_of(&lines, "in_doubt", id);
        assert!(
            line.contains(&format!("through the proxy {}: ", behind.proxy.address())) && line.contains(says),
            "{line}"
        );
        behind.bench.assert_each_submitted_once(&[id]).await;
    }
    behind.bench.assert_nothing_resent_blindly().await;
}

#[tokio::test]
async fn a_tls_proxy_must_have_a_trusted_certificate() {
    let behind = Behind::new().await;
    let secure = ConnectProxy::with_tls(behind.api.port(), behind.authority.server("localhost")).await;
    let url = format!("https://localhost:{}", secure.address().rsplit(':').next().unwrap());
    let behind = behind.set("api.proxy", &url);
    behind.bench.enqueue(&ids(3)).await;
    let ended = output(behind.command(&["run", "--until-empty"])).await;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    behind.bench.assert_each_submitted_once(&ids(3)).await;

    secure.reply_with(TunnelReply::Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let refused = output(behind.command(&["check", "--online"])).await;
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("forbids a tunnel to ssl.certcommit.invalid:443 (HTTP 403)"), "{stderr}");

    let mut unknown = behind.bench.command(&["check", "--online"]);
    let other = behind.bench.path("other.pem");
    Authority::new("Another").write(&other);
    unknown.env("SSL_CERT_FILE", other);
    let stderr = String::from_utf8(output(unknown).await.stderr).unwrap();
    assert!(stderr.contains("failed: the server's certificate is not trusted"), "{stderr}");
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name_and_checks_the_password() {
    let behind = Behind::new().await;
    let socks = SocksProxy::to(behind.api.port(), "user", "p@ss").await;
    let behind = behind.set("api.proxy", &format!("socks5h://user:p%40ss@{}", socks.address()));
    behind.bench.enqueue(&ids(3)).await;
    let ended = output(behind.command(&["run", "--until-empty"])).await;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    behind.bench.assert_each_submitted_once(&ids(3)).await;
    assert!(socks.requests().iter().all(|request| *request == format!("{HOST}:443")), "{:?}", socks.requests());

    let mut refused = behind.command(&["check", "--online"]);
    refused.env("CERTCOMMIT__API__PROXY", format!("socks5h://user:wrong@{}", socks.address()));
    let stderr = String::from_utf8(output(refused).await.stderr).unwrap();
    let words = format!("the proxy {} refuses a connection to {HOST}:443: credentials not accepted", socks.address());
    assert!(stderr.contains(&words) && stderr.contains("set api.proxy"), "{stderr}");
}

#[tokio::test]
async fn the_environments_proxy_is_used_except_for_hosts_in_no_proxy() {
    let behind = Behind::unset().await;
    let check = |variables: &[(&str, &str)]| {
        let mut command = behind.command(&["check", "--online"]);
        command.envs(variables.iter().copied());
        command
    };
    let url = behind.proxy.url();
    let proxied = output(check(&[("HTTPS_PROXY", &url)])).await;
    let stdout = String::from_utf8(proxied.stdout).unwrap();
    let line = format!("proxy          {}, from the environment's HTTPS_PROXY\n", behind.proxy.address());
    assert!(proxied.status.success() && stdout.contains(&line), "{stdout}{}", String::from_utf8_lossy(&proxied.stderr));
    assert!(stdout.contains("api            reached"), "{stdout}");
    assert_eq!(behind.proxy.tunnels(), 1);

    let direct = output(check(&[("HTTPS_PROXY", &url), ("NO_PROXY", ".certcommit.invalid")])).await;
    let stdout = String::from_utf8(direct.stdout).unwrap();
    assert!(stdout.contains("but NO_PROXY names ssl.certcommit.invalid\n"), "{stdout}");
    let stderr = String::from_utf8(direct.stderr).unwrap();
    assert!(stderr.contains("failed to lookup address") && !stderr.contains("proxy"), "{stderr}");

    let wrong = output(check(&[("HTTPS_PROXY", "ftp://user:canary@proxy")])).await;
    let stderr = String::from_utf8(wrong.stderr).unwrap();
    assert!(stderr.contains("HTTPS_PROXY is not the URL of a proxy") && !stderr.contains("canary"), "{stderr}");
    assert_eq!((wrong.status.code(), behind.proxy.tunnels()), (Some(78), 1));
}

#[tokio::test]
async fn this_machine_and_the_metadata_service_are_never_reached_through_a_proxy() {
    let mut bench = Bench::new().await;
    let metadata = bench.simulator.metadata(Some("certs")).await.unwrap();
    let proxy = ConnectProxy::to(metadata.address().port()).await;
    bench.set("credentials.source", "cvm-role");
    bench.set("api.proxy", &proxy.url());
    bench.enqueue(&ids(3)).await;
    let mut command = bench.command_without_credentials(&["run", "--until-empty"]);
    command.env("CERTCOMMIT_METADATA", metadata.address().to_string());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env(name, proxy.url());
    }
    let ended = output(command).await;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    bench.assert_each_submitted_once(&ids(3)).await;
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}
