//! What stops a newcomer is named: the authorities that the environment names, the service manager's socket, a header among
//! the IDs.

use std::process::Command;

use crate::support::{Authority, Bench, Process, Proxy, output};

async fn said(command: Command) -> (Option<i32>, String, String) {
    let done = output(command).await;
    (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[tokio::test]
async fn authorities_that_the_environment_names_and_that_can_not_be_read_are_named() {
    let mut bench = Bench::new().await;
    let authority = Authority::new("Trusted");
    let proxy = Proxy::with_tls(&bench.simulator, authority.server("127.0.0.1")).await;
    bench.set("api.endpoint", &format!("https://127.0.0.1:{}", proxy.port()));
    let other = bench.path("other");
    std::fs::create_dir(&other).unwrap();
    Authority::new("Other").write(&other.join("ca.pem"));
    let missing = bench.path("missing.pem");
    let why = format!("SSL_CERT_FILE names {}, which can't be read", missing.display());
    for (directory, code, begins) in [
        (None, 78, "the HTTPS client can't be set up: "),
        (Some(&other), 69, "the API can't be reached: the server's certificate is not trusted: unknown issuer; "),
    ] {
        let mut command = bench.command(&["check", "--online"]);
        command.env("SSL_CERT_FILE", &missing).envs(directory.map(|directory| ("SSL_CERT_DIR", directory)));
        let (ended, _, errors) = said(command).await;
        assert!(ended == Some(code) && errors.contains(&format!("{begins}{why}")), "{ended:?}: {errors}");
    }
}

#[tokio::test]
async fn a_service_managers_socket_that_can_not_be_one_is_told_and_the_work_goes_on() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    let mut command = bench.command(&["run", "--until-empty"]);
    command.env("NOTIFY_SOCKET", format!("/{}", "x".repeat(120)));
    let (code, lines) = Process::spawn(command).end().await;
    assert_eq!((code, bench.count("submitted").await), (Some(0), 1), "{lines:?}");
    let told = lines.iter().filter(|line| line["message"].as_str().unwrap_or_default().starts_with("NOTIFY_SOCKET "));
    assert_eq!(told.map(|line| line["level"].as_str()).collect::<Vec<_>>(), [Some("WARN")], "{lines:?}");
}

#[tokio::test]
async fn a_header_among_the_ids_of_a_file_is_named_and_is_no_id() {
    let bench = Bench::new().await;
    let file = bench.path("ids");
    for header in ["CertificateId", "certificate_id", "CERTIFICATE-ID", "id", "\u{feff}CertId"] {
        std::fs::write(&file, format!("{header}\nabcb1234\n")).unwrap();
        let (code, out, errors) = said(bench.command(&["enqueue", "--file", file.to_str().unwrap()])).await;
        let name = header.trim_start_matches('\u{feff}');
        assert_eq!(errors, format!("line 1: {name} is the header of a column, and no ID; it was not enqueued\n"));
        assert!(code == Some(0) && out.ends_with("0 refused\n"), "{code:?}: {out}");
    }
    assert_eq!(bench.rows().await.len(), 1);
}
