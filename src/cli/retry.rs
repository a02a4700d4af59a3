//! `certcommit retry`.

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Certificate IDs; failed, held or canceled.
    #[arg(value_name = "ID", required_unless_present = "error_code", conflicts_with = "error_code")]
    ids: Vec<CertificateId>,
    /// All failed submissions with this error code.
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = super::open_queue(settings).await?;
    let (selection, from): (_, &[State]) = match arguments.error_code {
        Some(code) => (Selection::ErrorCode(code), &[State::Failed]),
        None => (Selection::Ids(arguments.ids), &[State::Failed, State::Held, State::Canceled]),
    };
    let shifted = queue.shift(&selection, from, State::Pending).await?;
    super::report_moved(&mut queue, &shifted, State::Pending, "are pending again, and due at once").await
}
