//! `certcommit demo`: the daemon against the simulator, in a temporary database.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Table, presets};
use tokio::time::sleep;

use super::chart::chart;
use super::exit::{Code, Failure};
use super::report;
use super::run::Foreground;
use crate::clock;
use crate::config::{Settings, address_to_listen};
use crate::daemon::{CredentialSource, Ended, Until};
use crate::logging::{self, LogFormat, LogLevel};
use crate::queue::{NewSubmission, Opening, Queue};
use crate::simulator::{Issuance, Mixture, Options, Simulator, per_second, rate, worst_second};
use crate::submission::{Standing, State};
use crate::tencent::Credentials;

/// The API's latency, and how much it varies.
const LATENCY: Duration = Duration::from_millis(200);
const JITTER: Duration = Duration::from_millis(20);
/// The faults, each as a fraction of all certificates.
const MIXTURE: Mixture = Mixture {
    invalid: 0.02,
    network_error: 0.06,
    backend_error: 0.03,
    throttled: 0.002,
    lost_before: 0.02,
    lost_after: 0.03,
    html: 0.01,
};
/// What the CA makes of the orders. It takes longer than readbacks, which would find that it refused one.
const ISSUANCE: Issuance =
    Issuance { takes: Duration::from_secs(8)..Duration::from_secs(12), refused: 0.03, letter_missing: 0.05 };
/// How long the demo waits for the CA, after the last order.
const LONGEST_ISSUANCE: Duration = Duration::from_secs(60);
/// How often it looks whether the CA has decided.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Overrides of the defaults: shorter waits, so that the demo ends soon.
const OVERRIDES: [(&str, &str); 4] = [
    ("CERTCOMMIT__FOLLOW__INTERVAL", "1s"),
    ("CERTCOMMIT__VERIFY__SETTLE", "2s"),
    ("CERTCOMMIT__VERIFY__RESEND_AFTER", "6s"),
    ("CERTCOMMIT__RATE__PER_SECOND", "20"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number of certificates.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    certificates: u32,
    /// Only serve the simulator on this loopback address until interrupted, to try `certcommit run` by hand.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "certificates")]
    serve: Option<SocketAddr>,
    /// Serve metrics and the page about the queue at this address while the demo runs, or, given a port alone, at this port on loopback.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "serve", value_parser = address_to_listen)]
    listen: Option<SocketAddr>,
    /// Latency of the simulator in milliseconds.
    #[arg(long, value_name = "MS")]
    latency: Option<u64>,
    /// Write the report to this new file [default: certcommit-demo-PID.html in the temporary directory].
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    report: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Code, Failure> {
    let latency = arguments.latency.map_or(LATENCY, Duration::from_millis);
    let options = Options { latency, jitter: JITTER.min(latency), ..Options::default() };
    match arguments.serve {
        Some(address) => serve(Options { listen: address, ..options }).await,
        None => run_demo(arguments.certificates, options, arguments.listen, arguments.report).await,
    }
}

/// Serves only the simulator, for a daemon in another process.
async fn serve(options: Options) -> Result<Code, Failure> {
    if !options.listen.ip().is_loopback() {
        return Err(Failure::new(Code::Usage, "--serve requires a loopback address, such as 127.0.0.1:8017"));
    }
    let simulator = Simulator::start(options).await?;
    simulator.issue(ISSUANCE);
    let (secret_id, secret_key) = simulator.credentials();
    writeln!(
        std::io::stdout(),
        "The simulator is running. In another terminal:\n  export CERTCOMMIT__API__ENDPOINT={}\n  \
         export TENCENTCLOUD_SECRET_ID={secret_id} TENCENTCLOUD_SECRET_KEY={secret_key}\n  \
         export CERTCOMMIT__DATABASE__PATH=queue.db\n  certcommit run\nCtrl-C stops it.",
        simulator.endpoint()
    )?;
    tokio::signal::ctrl_c().await?;
    let times = simulator.commit_times();
    writeln!(std::io::stdout(), "\n{}", summary(&simulator, &times))?;
    simulator.stop().await;
    Ok(Code::Done)
}

/// Runs the daemon against the simulator, and prints the result.
async fn run_demo(
    certificates: u32,
    options: Options,
    listen: Option<SocketAddr>,
    page: Option<PathBuf>,
) -> Result<Code, Failure> {
    logging::init(LogLevel::Error, LogFormat::Text)?;
    let latency = options.latency;
    let simulator = Simulator::start(options).await?;
    simulator.mixture(MIXTURE);
    simulator.issue(ISSUANCE);
    let directory = tempfile::tempdir()?;
    let mut settings = settings(&simulator, &directory.path().join("queue.db"))?;
    settings.metrics.listen = listen;
    let cap = usize::try_from(settings.rate.per_second).unwrap_or(usize::MAX);
    enqueue(&settings, certificates).await?;
    writeln!(
        std::io::stdout(),
        "{certificates} certificates, at most {cap} requests a second, a latency of {latency:?}, and a mixture of faults"
    )?;
    let (secret_id, secret_key) = simulator.credentials();
    let source = CredentialSource::of(Credentials { secret_id, secret_key: secret_key.into(), token: None });
    let daemon = Foreground::start(settings.clone(), source, None).await?;
    if let Some(address) = daemon.page_address() {
        writeln!(std::io::stdout(), "while it runs, a browser shows the queue at {address}")?;
    }
    let mut followed = Ok(());
    let done = async { followed = until_followed(&settings, &simulator).await };
    let ended = daemon.run(Until::Stopped, true, done).await?;
    followed?;
    let orders = standings(&settings).await?;
    let page =
        page.unwrap_or_else(|| std::env::temp_dir().join(format!("certcommit-demo-{}.html", std::process::id())));
    report::write_new_page(&settings, &page).await?;
    let times = simulator.commit_times();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{}\n", outcomes(&ended, &orders, &simulator))?;
    writeln!(out, "commits in each second at the server; | is the cap of {cap}")?;
    writeln!(out, "{}", chart(&per_second(&times), cap))?;
    writeln!(out, "{}", summary(&simulator, &times))?;
    writeln!(out, "the report, for a browser: {}", page.display())?;
    let passed = worst_second(&times) <= cap && repeated_orders(&simulator, certificates) == 0;
    Ok(if passed { Code::Done } else { Code::PartlyDone })
}

fn settings(simulator: &Simulator, database: &std::path::Path) -> Result<Settings, Failure> {
    let addresses = [
        ("CERTCOMMIT__API__ENDPOINT".to_owned(), simulator.endpoint()),
        ("CERTCOMMIT__DATABASE__PATH".to_owned(), database.to_string_lossy().into_owned()),
    ];
    let overrides = OVERRIDES.map(|(key, value)| (key.to_owned(), value.to_owned()));
    // An empty file keeps the demo from reading the one in /etc.
    let empty = database.with_file_name("certcommit.toml");
    std::fs::write(&empty, "")?;
    Ok(Settings::load(Some(&empty), addresses.into_iter().chain(overrides))?)
}

fn certificate(number: u32) -> String {
    format!("demo{number:06}")
}

async fn enqueue(settings: &Settings, certificates: u32) -> Result<(), Failure> {
    let submission = |number| {
        let certificate_id = certificate(number).parse();
        let certificate_id = certificate_id.map_err(|error| Failure::new(Code::Usage, format!("{error}")))?;
        Ok(NewSubmission { certificate_id, verify_type: None, priority: 0, due_at: None, reference: None })
    };
    let batch: Result<Vec<_>, Failure> = (1..=certificates).map(submission).collect();
    let mut queue = Queue::open(&settings.database, Opening::Create).await?;
    queue.enqueue(&batch?).await?;
    Ok(queue.close().await?)
}

/// Waits until nothing is open, and the queue knows of every order what the CA has decided.
async fn until_followed(settings: &Settings, simulator: &Simulator) -> Result<(), Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let mut deadline = None;
    loop {
        sleep(LOOK_EVERY).await;
        let now = clock::now();
        if queue.status(now.unix.seconds()).await?.counts.open() > 0 {
            continue;
        }
        let known = queue.count_standing(&Standing::ALL).await?;
        let is_known = simulator.decided(now.instant).is_some_and(|decided| decided == known);
        if is_known || now.instant >= *deadline.get_or_insert(now.instant + LONGEST_ISSUANCE) {
            return Ok(queue.close().await?);
        }
    }
}

/// How many orders stand how, as the queue knows.
async fn standings(settings: &Settings) -> Result<Vec<(Standing, i64)>, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let standings = queue.count_standing(&Standing::ALL).await?;
    queue.close().await?;
    Ok(standings)
}

fn outcomes(ended: &Ended, orders: &[(Standing, i64)], simulator: &Simulator) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["outcome", "certificates"]);
    for state in State::ALL {
        let count = ended.counts.of(state);
        if count > 0 {
            table.add_row([state.as_str().to_owned(), count.to_string()]);
        }
    }
    for (standing, count) in orders.iter().filter(|(_, count)| *count > 0) {
        table.add_row([format!("order {}", standing.words()), count.to_string()]);
    }
    table.add_row(["orders placed at the server".to_owned(), simulator.orders().to_string()]);
    table
}

fn repeated_orders(simulator: &Simulator, certificates: u32) -> usize {
    (1..=certificates).filter(|number| simulator.orders_placed(&certificate(*number)) > 1).count()
}

fn summary(simulator: &Simulator, times: &[tokio::time::Instant]) -> String {
    format!(
        "{} commits and {} readbacks arrived; worst sliding second {}; {:.2} commits a second; {} orders placed",
        times.len(),
        simulator.reads().len(),
        worst_second(times),
        rate(times),
        simulator.orders()
    )
}
