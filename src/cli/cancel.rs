//! `certcommit cancel`.

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Certificate IDs; pending.
    #[arg(value_name = "ID", required_unless_present = "reference", conflicts_with = "reference")]
    ids: Vec<CertificateId>,
    /// All pending submissions with this reference.
    #[arg(long)]
    reference: Option<String>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = super::open_queue(settings).await?;
    let selection = match arguments.reference {
        Some(reference) => Selection::Reference(reference),
        None => Selection::Ids(arguments.ids),
    };
    let shifted = queue.shift(&selection, &[State::Pending], State::Canceled).await?;
    super::report_moved(
        &mut queue,
        &shifted,
        State::Canceled,
        "canceled; orders that are placed already are unaffected",
    )
    .await
}
