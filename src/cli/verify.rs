//! `certcommit verify`.

use super::exit::{Code, Failure};
use super::moving::shift;
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// IDs of pending or held certificates.
    #[arg(value_name = "ID")]
    ids: Vec<CertificateId>,
    /// All held submissions.
    #[arg(long)]
    held: bool,
    /// All pending submissions, for example after restoring a backup.
    #[arg(long)]
    pending: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let (selection, from): (_, &[State]) = match (arguments.held, arguments.pending) {
        (true, _) => (Selection::All, &[State::Held]),
        (_, true) => (Selection::All, &[State::Pending]),
        _ => (Selection::Ids(arguments.ids), &[State::Pending, State::Held]),
    };
    shift(settings, &selection, from, State::InDoubt, "will be read back before anything is sent").await
}
