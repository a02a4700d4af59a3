//! `certcommit resolve`.

use std::io::Write as _;

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::{Opening, Queue, Resolution};
use crate::submission::CertificateId;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// ID of a certificate that is held or in doubt.
    id: CertificateId,
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Decision {
    /// The order was placed, with this ID.
    #[arg(long, value_name = "ORDER_ID")]
    submitted: Option<String>,
    /// No order should be placed.
    #[arg(long)]
    failed: bool,
    /// No order was placed; place one.
    #[arg(long)]
    pending: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let resolution = match arguments.decision {
        Decision { submitted: Some(order_id), .. } => Resolution::Submitted(order_id),
        Decision { failed: true, .. } => Resolution::Failed,
        Decision { .. } => Resolution::Pending,
    };
    let id = &arguments.id;
    let resolved = queue.resolve(id, &resolution).await?;
    let Some(line) = queue.submission(id).await? else {
        return Err(Failure::new(Code::PartlyDone, format!("{id} is not in the queue")));
    };
    if !resolved {
        let message = format!("{id} is {}: only submissions that are held or in doubt can be resolved", line.state);
        return Err(Failure::new(Code::PartlyDone, message));
    }
    writeln!(std::io::stdout(), "{id} is {}", line.state)?;
    Ok(Code::Done)
}
