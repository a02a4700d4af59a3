//! `certcommit pause` and `certcommit resume`.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::cause::{PauseCause, Quote};
use crate::config::Settings;
use crate::queue::{Opening, Queue};

#[derive(Debug, clap::Args)]
pub(super) struct PauseArguments {
    /// The reason, for status and the log.
    reason: Option<String>,
}

pub(super) async fn pause(arguments: PauseArguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let cause = PauseCause::ByOperator { reason: arguments.reason.map(Quote::from) };
    queue.set_paused(Some(&cause.into())).await?;
    writeln!(std::io::stdout(), "paused: no commits are sent; to continue: certcommit resume")?;
    Ok(Code::Done)
}

pub(super) async fn resume(settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    queue.set_paused(None).await?;
    writeln!(std::io::stdout(), "resumed")?;
    Ok(Code::Done)
}
