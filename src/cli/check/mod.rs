//! `certcommit check`.

mod database;

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::daemon::{client_settings, way_to_api};
use crate::logging::printable;
use crate::submission::{CertificateId, ReadOutcome};
use crate::tencent::{Client, ClockSkew, Found, Source};

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
    /// Make rules of the queue again that are missing or altered, and count anew; with the daemon stopped. A copy of the queue
    /// is written beside it first. Rows are not changed; those that break the rules are told, as by --integrity.
    #[arg(long, conflicts_with_all = ["configuration", "online"])]
    repair: bool,
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
    if arguments.repair {
        database::mend(&mut out, settings).await?;
        return database::check(&mut out, settings, true).await.map(|()| Code::Done);
    }
    database::check(&mut out, settings, arguments.integrity).await?;
    let way = way_to_api(settings)?;
    writeln!(out, "proxy          {}", printable(&way.to_string(), LONGEST_PLACE))?;
    let found = super::credentials::find(&settings.credentials).await?;
    writeln!(out, "credentials    {}", credentials(settings, &found))?;
    writeln!(out, "clock          {} (signatures need it right to five minutes)", clock::now().unix)?;
    let client = Client::new(client_settings(settings, way.proxy()))?;
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
    let profile = match found.source {
        Source::File(_) => format!(", profile {}", settings.credentials.profile),
        Source::Systemd(_) | Source::Environment | Source::Role(_) | Source::Caller => String::new(),
    };
    let good_for = found.expires.map_or(String::new(), |expires| {
        format!(", good for another {}", clock::rough(expires.saturating_duration_since(clock::now().instant)))
    });
    let detail = format!("{profile}{good_for}");
    let passed = found.skipped.iter().map(|skipped| format!("{INDENT}not from {skipped}"));
    let lines = std::iter::once(format!("{} from {}{detail}", found.credentials.secret_id, found.source)).chain(passed);
    // Paths and profiles are others' texts.
    lines.map(|line| printable(&line, LONGEST_PLACE)).collect::<Vec<_>>().join("\n")
}

/// What is wrong with the clock, if anything is.
fn against_the_api(skew: ClockSkew) -> String {
    if skew.seconds().unsigned_abs() <= GOOD_CLOCK_S {
        return "agrees with the API's".to_owned();
    }
    format!("it is {skew}; set it (chronyc makestep, timedatectl)")
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
