//! `certcommit report`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::exit::{Code, Failure};
use crate::clock::{self, parse_seconds};
use crate::config::Settings;
use crate::named_enum::named_enum;
use crate::queue::{Opening, Queue, ReportFilter, Story};
use crate::report::{CsvReport, Outcome, Page, ROWS_ON_PAGE, Summary, read, to_json_line};
use crate::submission::State;

named_enum! {
    /// The form of a report.
    pub(super) enum Format {
        /// For people, in a terminal.
        Table = "table",
        /// For spreadsheets.
        Csv = "csv",
        /// For programs: an object for each certificate, with every request for it.
        JsonLines = "jsonl",
        /// For people, in a browser.
        Html = "html",
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only certificates with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// Only certificates in this state: pending, in_flight, in_doubt, submitted, failed, held or canceled.
    #[arg(long)]
    state: Option<State>,
    /// Only certificates that were enqueued then or later: unix seconds, or ISO 8601 such as 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    since: Option<i64>,
    /// Only certificates that were enqueued before then.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    until: Option<i64>,
    /// table, csv, jsonl (an object on each line), or html (one page with everything in it).
    #[arg(long, default_value_t = Format::Table)]
    format: Format,
    /// Write to this file, and not to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    let Arguments { reference, state, since, until, format, output } = arguments;
    let filter = ReportFilter { reference, state, since, until };
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let out: Box<dyn Write> = match &output {
        Some(path) => Box::new(File::create(path).map_err(|error| unwritable(path, &error))?),
        None => Box::new(io::stdout()),
    };
    let summary = Summary::new(filter, clock::now().unix.seconds(), settings.rate.per_second);
    let writer = Writer::begin(format, BufWriter::new(out))?;
    write(&mut queue, summary, writer).await?;
    Ok(Code::Done)
}

/// Writes the page of everything in the queue to a new file.
pub(super) async fn write_new_page(settings: &Settings, path: &Path) -> Result<(), Failure> {
    let mut queue = Queue::open(&settings.database, Opening::Looking).await?;
    let out = File::create_new(path).map_err(|error| unwritable(path, &error))?;
    let summary = Summary::new(ReportFilter::default(), clock::now().unix.seconds(), settings.rate.per_second);
    write(&mut queue, summary, Writer::begin(Format::Html, BufWriter::new(out))?).await
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Usage, format!("{} can't be written: {error}", path.display()))
}

/// Reads the queue, and writes it.
async fn write(queue: &mut Queue, mut summary: Summary, mut writer: Writer<impl Write>) -> Result<(), Failure> {
    read::<Failure>(queue, &mut summary, |story| Ok(writer.add(story)?)).await?;
    Ok(writer.finish(&summary)?)
}

/// A report that is being written.
enum Writer<W: Write> {
    Table(W),
    Csv(Box<CsvReport<W>>),
    JsonLines(W),
    Html(Page, W),
}

impl<W: Write> Writer<W> {
    fn begin(format: Format, out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Table => Self::Table(out),
            Format::Csv => Self::Csv(Box::new(CsvReport::begin(out)?)),
            Format::JsonLines => Self::JsonLines(out),
            Format::Html => Self::Html(Page::new(ROWS_ON_PAGE), out),
        })
    }

    fn add(&mut self, story: Story) -> io::Result<()> {
        match self {
            Self::Table(out) => writeln!(out, "{}", line(&story)),
            Self::Csv(report) => report.write(&story),
            Self::JsonLines(out) => writeln!(out, "{}", to_json_line(&story)),
            Self::Html(page, _) => {
                page.add(story);
                Ok(())
            }
        }
    }

    fn finish(self, summary: &Summary) -> io::Result<()> {
        match self {
            Self::Table(mut out) => {
                totals(summary).iter().try_for_each(|line| writeln!(out, "{line}"))?;
                out.flush()
            }
            Self::Csv(report) => report.finish(),
            Self::JsonLines(mut out) => out.flush(),
            Self::Html(page, mut out) => {
                out.write_all(page.render(summary).as_bytes())?;
                out.flush()
            }
        }
    }
}

/// A certificate, for a terminal.
fn line(story: &Story) -> String {
    let row = &story.row;
    let status = row.current_status_text.as_deref().or(row.status_text.as_deref());
    let words = row.error_code.as_deref().or(status).unwrap_or_default();
    let order = row.order_id.as_deref().unwrap_or("-");
    format!("{:<24} {:<10} {order:<16} {words}", &*row.certificate_id, &*row.state).trim_end().to_owned()
}

/// The counts, for a terminal.
fn totals(summary: &Summary) -> Vec<String> {
    let counts = Outcome::ALL.into_iter().filter(|outcome| summary.of(*outcome) > 0);
    let counts = counts.map(|outcome| format!("{} {}", summary.of(outcome), outcome.words()));
    let mut lines = vec![format!("{} certificates: {}", summary.certificates, counts.collect::<Vec<_>>().join("; "))];
    let failures = summary.frequent_failures().into_iter();
    lines.extend(failures.map(|(failure, count)| {
        let words = Some(&failure.words).filter(|words| !words.is_empty());
        let words = words.map(|words| format!(": {words}")).unwrap_or_default();
        format!("{count} failed with {}{words}", failure.code_in_words())
    }));
    if summary.other_failures > 0 {
        lines.push(format!("{} failed with other errors", summary.other_failures));
    }
    lines
}
