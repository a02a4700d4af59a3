//! `certcommit check`.

mod daemon;
mod database;
mod report;

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::daemon::{api_route, client_settings};
use crate::queue::daemon_lives;
use crate::submission::{CertificateId, Outcome, OutcomeClass, RequestKind};
use crate::tencent::{Client, ClockSkew, Found, SeenStatus, Source};
use report::Report;

/// The ID of no certificate. If the API replies that it doesn't exist, the account may read certificates.
const NONEXISTENT_CERTIFICATE: &str = "certcommit-check";
/// A reply may take this long, so a smaller difference proves nothing about the clock.
const CLOCK_TOLERANCE_S: u64 = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Make one harmless read, to check that the API can be reached and accepts the credentials.
    #[arg(long, conflicts_with = "configuration")]
    online: bool,
    /// Check only the configuration, as a reload would read it.
    #[arg(long)]
    configuration: bool,
    /// Read and check the whole database; the daemon may be running. Takes a minute for ten million rows in memory, and
    /// longer from disk.
    #[arg(long)]
    integrity: bool,
    /// Restore missing or altered rules of the queue, and recount. The daemon must be stopped. First copies the queue into
    /// the same directory. Changes no rows; reports those that break the rules, as --integrity does.
    #[arg(long, conflicts_with_all = ["configuration", "online"])]
    repair: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut report = Report::new();
    let (rate, endpoint) = (settings.rate.per_second, &settings.api.endpoint);
    report.line("configuration", format!("good: at most {rate} requests a second to {endpoint}"))?;
    if arguments.configuration {
        return Ok(Code::Done);
    }
    if arguments.repair {
        database::restore_rules(&mut report, settings).await?;
        return database::check(&mut report, settings, true).await.map(|()| Code::Done);
    }
    database::check(&mut report, settings, arguments.integrity).await?;
    let route = api_route(settings)?;
    report.line("proxy", &route)?;
    let found = super::credentials::find(&settings.credentials).await?;
    report.line("credentials", describe(settings, &found))?;
    if daemon_lives(&settings.database.path)? {
        report
            .line("", "those of this command: the daemon that runs has its own, from its environment and its user")?;
    }
    for skipped in &found.skipped {
        report.line("", format!("not from {skipped}"))?;
    }
    report.line(
        "clock",
        format!("{} (signatures require a clock that is right within five minutes)", clock::now().unix),
    )?;
    let client = Client::new(client_settings(settings, route.proxy()))?;
    if arguments.online {
        check_api(&mut report, &client, &found, settings.follow.interval.is_some()).await?;
    }
    daemon::check(&mut report, settings).await.map(|()| Code::Done)
}

/// The public half of the credentials, and their source.
fn describe(settings: &Settings, found: &Found) -> String {
    let profile = match found.source {
        Source::File(_) => format!(", profile {}", settings.credentials.profile),
        Source::Systemd(_) | Source::Environment | Source::Role(_) | Source::Caller => String::new(),
    };
    let good_for = found.expires.map_or(String::new(), |expires| {
        format!(", good for another {}", clock::rough(expires.saturating_duration_since(clock::now().instant)))
    });
    format!("{} from {}{profile}{good_for}", found.credentials.secret_id, found.source)
}

async fn check_api(report: &mut Report, client: &Client, found: &Found, follows: bool) -> Result<(), Failure> {
    let id = NONEXISTENT_CERTIFICATE.parse::<CertificateId>();
    let id = id.map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
    let exchange = client.request(RequestKind::Readback, &found.credentials, &id, None, |_| ()).await;
    // Without a RequestId, the reply and its clock may be those of a proxy.
    if let Some(skew) = exchange.skew.filter(|_| exchange.outcome.request_id.is_some()) {
        report.line("clock", describe_skew(skew))?;
    }
    let finding = verdict(&exchange.outcome).map_err(|problem| Failure::new(Code::Unavailable, problem))?;
    report.line("api", finding)?;
    if follows {
        let read = client.statuses(&found.credentials, &[id]).await;
        let finding = following(read.statuses).map_err(|problem| Failure::new(Code::Unavailable, problem))?;
        report.line("", finding)?;
    }
    Ok(())
}

/// Whether the statuses of orders can be read.
fn following(statuses: Result<Vec<SeenStatus>, Outcome>) -> Result<&'static str, String> {
    match statuses {
        Err(outcome) if outcome.class == OutcomeClass::Denied => Err(format!(
            "the API denies reading the statuses of orders ({}): grant ssl:DescribeCertificates, which follow.interval requires",
            outcome.why()
        )),
        Err(outcome) if outcome.class != OutcomeClass::Throttled => {
            Err(format!("the statuses of orders can't be read: {}", outcome.why()))
        }
        Ok(_) | Err(_) => Ok("the statuses of orders can be read, as follow.interval requires"),
    }
}

fn describe_skew(skew: ClockSkew) -> String {
    if skew.seconds().unsigned_abs() <= CLOCK_TOLERANCE_S {
        return "agrees with the API's".to_owned();
    }
    format!(
        "is {skew}. Compare both with a third clock before you set anything (chronyc tracking, or date -u on another machine): if this \
         machine's is right, report the API's to Tencent Cloud"
    )
}

fn verdict(outcome: &Outcome) -> Result<String, String> {
    let (why, code) = (outcome.why(), outcome.error.as_ref().map_or("", |error| error.code.as_str()));
    let request = outcome.request_id.as_ref().map(|id| format!("; RequestId {id}")).unwrap_or_default();
    match outcome.class {
        OutcomeClass::Failed => {
            Ok(format!("reached; reading is permitted (it replied {code}, as expected{request}). Nothing was ordered"))
        }
        OutcomeClass::Throttled => Ok(format!("reached; it currently limits the rate ({code}{request})")),
        OutcomeClass::Denied => {
            Err(format!("the API denies reading ({why}): grant ssl:DescribeCertificate, which readbacks require"))
        }
        OutcomeClass::Account => Err(format!("the API refuses the account or its credentials: {why}")),
        OutcomeClass::NotSent => Err(format!("the API can't be reached: {why}")),
        OutcomeClass::Committed
        | OutcomeClass::NotCommitted
        | OutcomeClass::DeadEnd
        | OutcomeClass::Unclear
        | OutcomeClass::Early => Ok("reached; reading is permitted".to_owned()),
        OutcomeClass::Submitted
        | OutcomeClass::Retry
        | OutcomeClass::BackendError
        | OutcomeClass::StatusRefused
        | OutcomeClass::InDoubt => Err(format!("the API gave no usable reply: {why}")),
    }
}
