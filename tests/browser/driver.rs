//! A browser of its own for each test.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};

/// A name that somebody else controls, and that leads to this machine.
pub(crate) const STRANGER: &str = "rebound.example";

/// What the visitor of the page prefers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor {
    pub(crate) dark: bool,
    pub(crate) width: u32,
}

/// A browser, and the process that drives it.
pub(crate) struct Browser {
    pub(crate) client: Client,
    _driver: Driver,
}

/// The process that drives the browser, which ends with it.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.kill().expect("chromedriver runs until now");
        self.0.wait().expect("it can be waited for");
    }
}

impl Browser {
    /// Starts a browser.
    pub(crate) async fn start(visitor: Visitor) -> Self {
        let mut driver = Command::new("chromedriver");
        let mut driver = Driver(driver.arg("--port=0").stdout(Stdio::piped()).spawn().expect("chromedriver runs"));
        let mut lines = BufReader::new(driver.0.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says its port").unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Its further output is of no interest, but must not block it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            // As if a stranger's name server said so.
            format!("--host-resolver-rules=MAP {STRANGER} 127.0.0.1"),
            format!("--window-size={},1200", visitor.width),
        ];
        if visitor.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL", "performance": "ALL" }));
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        let client =
            builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await.expect("a browser");
        Self { client, _driver: driver }
    }

    /// Opens a file.
    pub(crate) async fn open(&self, path: &Path) {
        self.visit(&format!("file://{}", path.display())).await;
    }

    /// Opens an address.
    pub(crate) async fn visit(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// The result of a script.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        self.client.execute(&format!("return {script}"), Vec::new()).await.unwrap()
    }

    /// What the page wrote to its console, errors among it.
    pub(crate) async fn console(&self) -> Vec<String> {
        self.log("browser").await.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The addresses that the page asked for, besides itself.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let log = self.log("performance").await;
        let events = log.iter().filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let address =
            sent.map(|event| event["message"]["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
        address.collect()
    }

    /// Shows the page as a printer would, on paper of A4.
    pub(crate) async fn show_as_printed(&self) {
        self.client.set_window_size(720, 1000).await.unwrap();
        let print = DevTools { command: "Emulation.setEmulatedMedia", parameters: json!({ "media": "print" }) };
        self.client.issue_cmd(print).await.unwrap();
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.client.issue_cmd(Log(kind.to_owned())).await.unwrap();
        log.as_array().cloned().unwrap_or_default()
    }

    /// Ends the browser.
    pub(crate) async fn end(self) {
        self.client.close().await.unwrap();
    }
}

/// Chromium's own command for its logs. <https://chromium.googlesource.com/chromium/src/+/main/docs/chromedriver_status.md>.
#[derive(Debug)]
struct Log(String);

impl fantoccini::wd::WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({ "type": self.0 }).to_string()))
    }
}

/// A command of Chromium's DevTools. <https://chromedevtools.github.io/devtools-protocol/tot/Emulation/>.
#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl fantoccini::wd::WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({ "cmd": self.command, "params": self.parameters }).to_string()))
    }
}
