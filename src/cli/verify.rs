//! `certcommit verify`.

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// Certificate IDs; pending or held.
    #[arg(value_name = "ID")]
    ids: Vec<CertificateId>,
    /// All held submissions.
    #[arg(long)]
    held: bool,
    /// All pending submissions, for instance after a backup was restored.
    #[arg(long)]
    pending: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = super::open_queue(settings).await?;
    let (selection, from): (_, &[State]) = match (arguments.held, arguments.pending) {
        (true, _) => (Selection::All, &[State::Held]),
        (_, true) => (Selection::All, &[State::Pending]),
        _ => (Selection::Ids(arguments.ids), &[State::Pending, State::Held]),
    };
    let shifted = queue.shift(&selection, from, State::InDoubt).await?;
    super::report_moved(&mut queue, &shifted, State::InDoubt, "are read back before anything is sent for them").await
}
