//! `certcommit backup`.

use std::io::Write as _;
use std::path::PathBuf;

use super::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::queue::{Opening, Queue};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to create. A queue restored from it starts paused.
    file: PathBuf,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Existing).await?;
    let backup = queue.back_up(&arguments.file, clock::now().unix).await?;
    writeln!(
        std::io::stdout(),
        "backed up {} submissions and {} requests to {}: {} bytes, checked",
        backup.submissions,
        backup.requests,
        arguments.file.display(),
        backup.bytes
    )?;
    Ok(Code::Done)
}
