//! A real proxy that requires a user and a password.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Authority, Bench, ConnectProxy, FaultProxy, ids, output, text};

/// A name that only the proxy resolves.
const HOST: &str = "ssl.certcommit.invalid";
const USER: &str = "CanaryUser4Tz";
const PASSWORD: &str = "CanaryPassword7Qx";

/// A tinyproxy that runs until it is dropped.
struct Tinyproxy {
    child: Child,
    port: u16,
}

impl Tinyproxy {
    /// A proxy that grants tunnels only to this port.
    async fn start(bench: &Bench, port: u16) -> Self {
        let hosts = bench.path("hosts");
        std::fs::write(&hosts, format!("127.0.0.1 localhost {HOST}\n")).unwrap();
        // It can't choose a free port itself: this one was free a moment ago.
        let own_port = ConnectProxy::listener().await.local_addr().unwrap().port();
        let configuration = bench.path("tinyproxy.conf");
        let lines = format!(
            "Port {own_port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Info\nBasicAuth {USER} {PASSWORD}\nConnectPort {port}\n"
        );
        std::fs::write(&configuration, lines).unwrap();
        let run = format!("mount --bind {} /etc/hosts && exec tinyproxy -d -c {}", text(&hosts), text(&configuration));
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &run]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("Accepting connections")));
        assert!(ready.is_some(), "tinyproxy is installed and starts");
        // It keeps writing, and must not meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: own_port }
    }

    fn url(&self, password: &str) -> String {
        format!("http://{USER}:{password}@127.0.0.1:{}", self.port)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Writes a proxy's URL into a file that only its owner can read.
fn file(bench: &Bench, url: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = bench.path("proxy");
    std::fs::write(&path, url).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn orders_go_through_a_real_proxy_whose_password_is_never_shown() {
    let mut bench = Bench::new().await;
    let authority = Authority::new("Trusted");
    authority.write(&bench.path("authority.pem"));
    let api = FaultProxy::with_tls(&bench.simulator, authority.server(HOST)).await;
    let tinyproxy = Tinyproxy::start(&bench, api.port()).await;
    bench.set("api.endpoint", &format!("https://{HOST}:{}", api.port()));
    bench.set("log.level", "trace");
    let ids = ids(5);
    bench.enqueue(&ids).await;
    let command = |arguments: &[&str], proxy: &str| {
        let mut command = bench.command(arguments);
        command.env("SSL_CERT_FILE", bench.path("authority.pem")).env("CERTCOMMIT__API__PROXY", proxy);
        command
    };
    let path = text(&file(&bench, &tinyproxy.url(PASSWORD)));
    let mut outputs = Vec::new();
    let ended = output(command(&["run", "--until-empty"], &format!("file:{path}"))).await;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    bench.assert_each_submitted_once(&ids).await;
    outputs.extend([ended.stdout, ended.stderr]);
    let received = api.received();
    assert!(
        !received.iter().any(|request| request.head.contains("proxy-")),
        "those headers are for the proxy alone: {received:#?}"
    );

    let elsewhere = format!("https://{HOST}:1");
    let cases = [
        (&*tinyproxy.url(PASSWORD), None, "api            reached", Some(0)),
        (&*tinyproxy.url("wrong"), None, "rejects the user or the password (HTTP 401)", Some(69)),
        (&*format!("http://127.0.0.1:{}", tinyproxy.port), None, "requires a user and a password (HTTP 407)", Some(69)),
        (
            &*tinyproxy.url(PASSWORD),
            Some(&elsewhere),
            "forbids a tunnel to ssl.certcommit.invalid:1 (HTTP 403)",
            Some(69),
        ),
    ];
    for (proxy, endpoint, words, code) in cases {
        let mut command = command(&["check", "--online"], proxy);
        command.envs(endpoint.map(|endpoint| ("CERTCOMMIT__API__ENDPOINT", endpoint)));
        let checked = output(command).await;
        let text = String::from_utf8([checked.stdout.clone(), checked.stderr.clone()].concat()).unwrap();
        assert!(text.contains(words) && checked.status.code() == code, "{words}: {text}");
        outputs.extend([checked.stdout, checked.stderr]);
    }

    for name in ["queue.db", "queue.db-wal", "queue.db.mark", "queue.db.lock"] {
        outputs.extend(std::fs::read(bench.path(name)));
    }
    let basic = "Q2FuYXJ5VXNlcjRUejpDYW5hcnlQYXNzd29yZDdReA==";
    for secret in [USER, PASSWORD, basic] {
        let leaks = |text: &Vec<u8>| text.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!outputs.iter().any(leaks), "{secret} leaked");
    }
}
