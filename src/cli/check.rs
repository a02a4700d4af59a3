//! `certcommit check`.

use std::io::{self, Write as _};

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::daemon::client_settings;
use crate::logging::printable;
use crate::queue::{Opening, Queue, QueueError, daemon_lives};
use crate::submission::{CertificateId, ReadOutcome, State};
use crate::tencent::{Client, Found, Skew, Source};

/// A certificate that nobody has: that it isn't found proves that we are let in.
const NOBODYS_CERTIFICATE: &str = "certcommit-check";
/// A clock that is off by no more than this many seconds needs no mending: a reply may take as long.
const GOOD_CLOCK_S: u64 = 5;

/// What further lines of an item begin with.
const INDENT: &str = "               ";
/// A path that is longer is cut.
const LONGEST_PLACE: usize = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Make one harmless read, to see whether the API is reached and lets us in.
    #[arg(long, conflicts_with = "configuration")]
    online: bool,
    /// Check the configuration alone, as it has to be good for a reload.
    #[arg(long)]
    configuration: bool,
    /// Read the whole database, and check that it is whole; beside the daemon, if one runs. It takes a minute for ten
    /// million rows that are in memory, and longer from a disk.
    #[arg(long)]
    integrity: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "configuration  good: at most {} requests a second to {}",
        settings.rate.per_second, settings.api.endpoint
    )?;
    if arguments.configuration {
        return Ok(Code::Done);
    }
    writeln!(out, "database       {}", database(settings).await?)?;
    if arguments.integrity {
        check_integrity(&mut out, settings).await?;
    }
    let found = super::credentials::find(&settings.credentials).await?;
    writeln!(out, "credentials    {}", credentials(settings, &found))?;
    writeln!(out, "clock          {} (signatures need it right to five minutes)", clock::now().unix)?;
    let client = Client::new(client_settings(settings))?;
    if !arguments.online {
        return Ok(Code::Done);
    }
    let id = NOBODYS_CERTIFICATE.parse::<CertificateId>();
    let id = id.map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
    let exchange = client.read(&found.credentials, &id, |_| ()).await;
    if let Some(skew) = exchange.skew {
        writeln!(out, "clock          {}", against_the_api(skew))?;
    }
    match verdict(&exchange.outcome) {
        Ok(good) => writeln!(out, "api            {good}")?,
        Err(bad) => return Err(Failure::new(Code::Unavailable, bad)),
    }
    Ok(Code::Done)
}

/// Which they are, where they were found, and which places before had none.
fn credentials(settings: &Settings, found: &Found) -> String {
    let detail = match (&found.source, found.expires) {
        (Source::File(_), _) => format!(", profile {}", settings.credentials.profile),
        (_, Some(expires)) => {
            format!(", good for another {}", clock::rough(expires.saturating_duration_since(clock::now().instant)))
        }
        (_, None) => String::new(),
    };
    let passed = found.passed.iter().map(|passed| format!("{INDENT}not from {passed}"));
    let lines = std::iter::once(format!("{} from {}{detail}", found.credentials.secret_id, found.source)).chain(passed);
    // Paths and profiles are others' texts.
    lines.map(|line| printable(&line, LONGEST_PLACE)).collect::<Vec<_>>().join("\n")
}

/// What is wrong with the clock, if anything is.
fn against_the_api(skew: Skew) -> String {
    if skew.seconds().unsigned_abs() <= GOOD_CLOCK_S {
        return "agrees with the API's".to_owned();
    }
    format!("it is {skew}; set it (chronyc makestep, timedatectl)")
}

async fn database(settings: &Settings) -> Result<String, Failure> {
    let path = printable(&settings.database.path.display().to_string(), LONGEST_PLACE);
    let mut queue = match Queue::open(&settings.database, Opening::Existing).await {
        Ok(queue) => queue,
        Err(QueueError::Missing(_)) => return Ok(format!("{path} is not there yet; the first start makes it")),
        Err(error) => return Err(error.into()),
    };
    let counts = queue.counts().await?;
    let version = queue.sqlite_version().await?;
    let daemon = if daemon_lives(&settings.database.path)? { "a daemon runs" } else { "no daemon runs" };
    let allowed = queue.unsafe_filesystem().map(|kind| {
        let kind = printable(kind, LONGEST_PLACE);
        format!("\n{INDENT}on a filesystem ({kind}) that another program or the machine's host serves: locks hold only if that makes them hold")
    });
    Ok(format!(
        "{path}: {} pending, {} held; {daemon}; SQLite {version}{}",
        counts.of(State::Pending),
        counts.of(State::Held),
        allowed.unwrap_or_default()
    ))
}

/// Tells that the database is whole, or what isn't, a line each.
async fn check_integrity(out: &mut impl io::Write, settings: &Settings) -> Result<(), Failure> {
    let mut queue = super::open_queue(settings).await?;
    let findings = queue.check_integrity().await?;
    if findings.is_empty() {
        writeln!(out, "integrity      whole: the structure, the rules, and the rows among each other")?;
        return Ok(());
    }
    for finding in &findings {
        writeln!(out, "integrity      {}", printable(finding, LONGEST_PLACE))?;
    }
    let path = printable(&settings.database.path.display().to_string(), LONGEST_PLACE);
    let advice =
        "If it is damaged, stop the daemon, and restore a backup, or save what is left with sqlite3's .recover";
    Err(Failure::new(Code::Data, format!("{path} is not whole, as the lines above tell. {advice}")))
}

fn verdict(outcome: &ReadOutcome) -> Result<String, String> {
    match outcome {
        ReadOutcome::Seen(_) => Ok("reached, and lets us read".to_owned()),
        ReadOutcome::Failed(refusal) => {
            Ok(format!("reached, and lets us read (it says, as it should: {})", refusal.code))
        }
        ReadOutcome::Throttled(refusal) => Ok(format!("reached; it limits the rate at present ({})", refusal.code)),
        ReadOutcome::Denied(refusal) => Err(format!(
            "the API denies reading ({refusal}): grant ssl:DescribeCertificate, without which what is in doubt can't be settled"
        )),
        ReadOutcome::Account(refusal) => Err(format!("the API refuses the account or its credentials: {refusal}")),
        ReadOutcome::Retry { why, .. } => Err(format!("the API does not answer as it should: {why}")),
        ReadOutcome::NotSent(why) => Err(format!("the API can't be reached: {why}")),
    }
}
