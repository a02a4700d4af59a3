//! `certcommit retry`.

use super::exit::{Code, Failure};
use super::moving::shift;
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// IDs of failed, held or canceled certificates.
    #[arg(value_name = "ID", required_unless_present = "error_code", conflicts_with = "error_code")]
    ids: Vec<CertificateId>,
    /// All failed submissions with this error code.
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let (selection, from): (_, &[State]) = match arguments.error_code {
        Some(code) => (Selection::ErrorCode(code), &[State::Failed]),
        None => (Selection::Ids(arguments.ids), &[State::Failed, State::Held, State::Canceled]),
    };
    shift(settings, &selection, from, State::Pending, "pending again, due now").await
}
