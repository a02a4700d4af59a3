//! Invalid values of SSL_CERT_FILE and NOTIFY_SOCKET are reported by name.

use crate::support::{Authority, Bench, FaultProxy, Process, output};

#[tokio::test]
async fn an_unreadable_file_of_authorities_is_reported_by_its_variable() {
    let mut bench = Bench::new().await;
    let authority = Authority::new("Trusted");
    let proxy = FaultProxy::with_tls(&bench.simulator, authority.server("127.0.0.1")).await;
    bench.set("api.endpoint", &format!("https://127.0.0.1:{}", proxy.port()));
    let other = bench.path("other");
    std::fs::create_dir(&other).unwrap();
    Authority::new("Other").write(&other.join("ca.pem"));
    let missing = bench.path("missing.pem");
    let why = format!("SSL_CERT_FILE names {}, which can't be read", missing.display());
    for (directory, code, start) in [
        (None, 78, "the HTTPS client can't be set up: "),
        (Some(&other), 69, "the API can't be reached: the server's certificate is not trusted: unknown issuer; "),
    ] {
        let mut command = bench.command(&["check", "--online"]);
        command.env("SSL_CERT_FILE", &missing).envs(directory.map(|directory| ("SSL_CERT_DIR", directory)));
        let ended = output(command).await;
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(code) && errors.contains(&format!("{start}{why}")), "{errors}");
    }
}

#[tokio::test]
async fn an_invalid_notify_socket_is_reported_and_the_work_continues() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    let mut command = bench.command(&["run", "--until-empty"]);
    command.env("NOTIFY_SOCKET", format!("/{}", "x".repeat(120)));
    let (code, lines) = Process::spawn(command).end().await;
    assert_eq!((code, bench.count("submitted").await), (Some(0), 1), "{lines:?}");
    let warnings =
        lines.iter().filter(|line| line["message"].as_str().unwrap_or_default().starts_with("NOTIFY_SOCKET "));
    assert_eq!(warnings.map(|line| line["level"].as_str()).collect::<Vec<_>>(), [Some("WARN")], "{lines:?}");
}
