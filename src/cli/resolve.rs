//! `certcommit resolve`.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::Resolution;
use crate::submission::CertificateId;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The certificate's ID; held or in doubt.
    id: CertificateId,
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Decision {
    /// The order stands, under this number.
    #[arg(long, value_name = "ORDER_ID")]
    submitted: Option<String>,
    /// It is not to be placed.
    #[arg(long)]
    failed: bool,
    /// No order stands, and it is to be sent (again).
    #[arg(long)]
    pending: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = super::open_queue(settings).await?;
    let resolution = match arguments.decision {
        Decision { submitted: Some(order_id), .. } => Resolution::Submitted(order_id),
        Decision { failed: true, .. } => Resolution::Failed,
        Decision { .. } => Resolution::Pending,
    };
    let id = &arguments.id;
    let resolved = queue.resolve(id, &resolution).await?;
    let state = queue.submission(id).await?.map(|line| line.state);
    let mut out = std::io::stdout().lock();
    match (resolved, state) {
        (true, Some(state)) => writeln!(out, "{id} is {state}")?,
        (_, Some(state)) => {
            let why = format!("{id} is {state}: only what is held or in doubt can be decided");
            return Err(Failure::new(Code::PartlyDone, why));
        }
        (_, None) => return Err(Failure::new(Code::PartlyDone, format!("{id} is not in the queue"))),
    }
    Ok(Code::Done)
}
