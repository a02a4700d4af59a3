//! `certcommit enqueue`: from arguments, from a list of IDs, or from a table as spreadsheets save it.

mod list;
mod progress;
mod report;
mod row;
mod source;
mod table;

use std::path::PathBuf;

use super::exit::{Code, Failure};
use crate::clock::parse_seconds;
use crate::config::Settings;
use crate::queue::{Opening, Queue, QueueError, Staged, Staging};
use crate::submission::VerifyType;
use report::Report;
use row::{Defaults, Entry};
use source::{Options, Source};

/// Submissions per transaction. A longer transaction would keep other writers waiting.
const BATCH: usize = 5_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Certificate IDs.
    #[arg(value_name = "ID", required_unless_present = "file", conflicts_with = "file")]
    ids: Vec<String>,
    /// File with one certificate ID per line, or with a table (CSV); - for standard input. A list may have empty lines, lines
    /// that start with #, and a header. A table has a header with certificate_id and, in any order, verify_type, priority,
    /// due_at and reference, separated by commas, semicolons or tabs.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Domain validation: DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY. In a table, for rows without one.
    #[arg(long, value_name = "TYPE")]
    verify_type: Option<VerifyType>,
    /// 0 to 3; higher is sent first. In a table, for rows without one.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    priority: u8,
    /// Earliest time to send: unix seconds, or ISO 8601 such as 2026-12-01T00:00:00Z. In a table, for rows without one.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    due_at: Option<i64>,
    /// Your own reference, for reports and for `cancel --reference`. In a table, for rows without one.
    #[arg(long)]
    reference: Option<String>,
    /// Ignore columns of a table that certcommit doesn't know.
    #[arg(long, requires = "file")]
    ignore_unknown: bool,
    /// Also write the refused lines to this file, as a table: line, column, value, reason.
    #[arg(long, value_name = "FILE", requires = "file")]
    refused: Option<PathBuf>,
    /// Enqueue nothing if any line is refused. Other writers wait while the rows are written.
    #[arg(long, requires = "file")]
    all_or_nothing: bool,
    /// Only check the lines, and say what would be enqueued.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    // Before the queue is opened: a wrong file name must not create a queue.
    let source = Source::open(&arguments.options())?;
    let report = Report::new(arguments.refused.as_deref(), source.bar.clone())?;
    if arguments.dry_run {
        return check(source, report, settings).await;
    }
    let queue = Queue::open(&settings.database, Opening::Create).await?;
    if arguments.all_or_nothing {
        enqueue_all(source, report, queue).await
    } else {
        enqueue(source, report, queue).await
    }
}

impl Arguments {
    fn options(&self) -> Options {
        let defaults = Defaults {
            verify_type: self.verify_type,
            priority: self.priority,
            due_at: self.due_at,
            reference: self.reference.clone(),
        };
        let (ids, file) = (self.ids.clone(), self.file.clone());
        Options { ids, file, ignore_unknown: self.ignore_unknown, defaults }
    }
}

/// Enqueues in batches.
async fn enqueue(mut source: Source, mut report: Report, mut queue: Queue) -> Result<Code, Failure> {
    loop {
        let batch = next_batch(&mut source, &mut report)?;
        if batch.is_empty() {
            queue.close().await?;
            return Ok(report.finish("")?);
        }
        let enqueued = queue.enqueue(batch.iter().map(|staged| &staged.submission)).await?;
        report.add(enqueued, &batch)?;
    }
}

/// Enqueues everything in one transaction, or nothing.
async fn enqueue_all(source: Source, mut report: Report, mut queue: Queue) -> Result<Code, Failure> {
    let mut staging = stage(source, &mut report).await?;
    if report.refused() == 0 {
        let (enqueued, refused) = queue.enqueue_all(&mut staging).await?;
        report.add(enqueued, &refused)?;
    }
    queue.close().await?;
    let is_refused = report.refused() > 0;
    Ok(report.finish(if is_refused { "; nothing was enqueued (--all-or-nothing)" } else { "" })?)
}

/// Checks the lines, and compares them with the queue, which is only read.
async fn check(source: Source, mut report: Report, settings: &Settings) -> Result<Code, Failure> {
    let mut staging = stage(source, &mut report).await?;
    let known = match Queue::open(&settings.database, Opening::Looking).await {
        Ok(mut queue) => queue.known(&mut staging).await?,
        Err(QueueError::Missing(_) | QueueError::Empty(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    report.count(staging.distinct() - known, known);
    Ok(report.finish("; nothing was changed (--dry-run)")?)
}

/// Reads all lines into a temporary database.
async fn stage(mut source: Source, report: &mut Report) -> Result<Staging, Failure> {
    let mut staging = Staging::new().await?;
    loop {
        let batch = next_batch(&mut source, report)?;
        if batch.is_empty() {
            return Ok(staging);
        }
        let repeated = staging.add(&batch).await?;
        report.count(0, repeated);
    }
}

/// The next submissions of the source. Empty: there are no more.
fn next_batch(source: &mut Source, report: &mut Report) -> Result<Vec<Staged>, Failure> {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        let Some(line) = source.next() else { break };
        let line = line?;
        match line.entry {
            Entry::Submission(submission) => batch.push(Staged { line: line.number, submission }),
            Entry::Refused(refusal) => report.refuse(line.number, &refusal)?,
            Entry::Header(text) => report.skip(line.number, &text)?,
        }
    }
    Ok(batch)
}
