//! `certcommit cancel`.

use super::exit::{Code, Failure};
use super::moving::shift;
use crate::config::Settings;
use crate::queue::Selection;
use crate::submission::{CertificateId, State};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// IDs of pending certificates.
    #[arg(value_name = "ID", required_unless_present = "reference", conflicts_with = "reference")]
    ids: Vec<CertificateId>,
    /// All pending submissions with this reference.
    #[arg(long)]
    reference: Option<String>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let selection = match arguments.reference {
        reference @ Some(_) => Selection::With { error_code: None, reference },
        None => Selection::Ids(arguments.ids),
    };
    let description = "canceled; orders already placed are unaffected";
    shift(settings, &selection, &[State::Pending], State::Canceled, None, description).await
}
