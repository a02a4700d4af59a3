//! `certcommit enqueue`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::{Enqueued, NewSubmission, Opening, Queue};
use crate::submission::{CertificateId, VerifyType};

/// Submissions per transaction. A longer transaction would keep other writers waiting.
const BATCH: usize = 5_000;
/// Longer lines are truncated. No ID is nearly as long.
const MAX_LINE_BYTES: u64 = 4096;
/// Column headers, in lowercase and without `_` and `-`.
const HEADERS: [&str; 5] = ["certificateid", "certificateids", "certid", "certids", "id"];
/// At most this many refused lines are printed, and this many skipped ones.
const MAX_PRINTED: u64 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Certificate IDs.
    #[arg(value_name = "ID", required_unless_present = "file", conflicts_with = "file")]
    ids: Vec<String>,
    /// File with one certificate ID per line; - for standard input. Skips empty lines, lines that start with #, and a header.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Domain validation: DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY.
    #[arg(long, value_name = "TYPE")]
    verify_type: Option<VerifyType>,
    /// 0 to 3; higher is sent first.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    priority: u8,
    /// Earliest time to send: unix seconds, or ISO 8601 such as 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    due_at: Option<i64>,
    /// Your own reference, for reports and for `cancel --reference`.
    #[arg(long)]
    reference: Option<String>,
}

fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).map_err(|error| error.to_string())
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<Code, Failure> {
    // Before the queue is opened: a wrong file name must not create a queue.
    let lines = lines(&arguments)?;
    let mut queue = Queue::open(&settings.database, Opening::Create).await?;
    let mut tally = Tally::default();
    let mut batch = Vec::new();
    for line in lines {
        let (prefix, text) = line?;
        if arguments.file.is_some() && is_header(&text) {
            tally.skip(&format!("{prefix}: skipped {text}, which is a column header, not an ID"))?;
            continue;
        }
        match text.parse::<CertificateId>() {
            Ok(certificate_id) => batch.push(arguments.submission(certificate_id)),
            Err(error) => tally.refuse(&format!("{prefix}: {error}"))?,
        }
        if batch.len() == BATCH {
            tally.add(&queue.enqueue(&batch).await?)?;
            batch.clear();
        }
    }
    tally.add(&queue.enqueue(&batch).await?)?;
    queue.close().await?;
    Ok(tally.finish()?)
}

impl Arguments {
    fn submission(&self, certificate_id: CertificateId) -> NewSubmission {
        NewSubmission {
            certificate_id,
            verify_type: self.verify_type,
            priority: self.priority,
            due_at: self.due_at,
            reference: self.reference.clone(),
        }
    }
}

/// Whether a line is a column header, as in exports of tables. It would pass for an ID.
fn is_header(line: &str) -> bool {
    let letters: String = line.chars().filter(|letter| !matches!(letter, '_' | '-')).collect();
    HEADERS.contains(&letters.to_ascii_lowercase().as_str())
}

type Lines = Box<dyn Iterator<Item = Result<(String, String), Failure>>>;

/// The IDs, each with a prefix for messages about it.
fn lines(arguments: &Arguments) -> Result<Lines, Failure> {
    let Some(path) = &arguments.file else {
        let ids = arguments.ids.clone().into_iter();
        return Ok(Box::new(ids.map(|id| Ok(("refused".to_owned(), id)))));
    };
    let (reader, name): (Box<dyn BufRead>, _) = if path == Path::new("-") {
        (Box::new(BufReader::new(io::stdin())), "standard input".to_owned())
    } else {
        let name = path.display().to_string();
        (Box::new(BufReader::new(open(path).map_err(|error| unreadable(&name, &error))?)), name)
    };
    let lines = TruncatedLines(reader).enumerate().map(move |(index, line)| {
        let line = line.map_err(|error| unreadable(&name, &error))?;
        let bom = if index == 0 { line.strip_prefix('\u{feff}') } else { None };
        let line = bom.unwrap_or(&line);
        Ok((format!("line {}", index + 1), line.trim().to_owned()))
    });
    let is_skipped = |text: &str| text.is_empty() || text.starts_with('#');
    Ok(Box::new(lines.filter(move |line| !line.as_ref().is_ok_and(|(_, text)| is_skipped(text)))))
}

/// Opens a file. A directory can be opened too, but not read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// A file of IDs that can't be read is a usage error.
fn unreadable(name: &str, error: &io::Error) -> Failure {
    let message = if error.kind() == io::ErrorKind::IsADirectory {
        format!("{name} is a directory; name a file with one certificate ID per line")
    } else {
        format!("{name}: {error}")
    };
    Failure::new(Code::Usage, message)
}

/// Lines, truncated so that no file can fill the memory. Invalid UTF-8 is replaced.
struct TruncatedLines(Box<dyn BufRead>);

impl Iterator for TruncatedLines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl TruncatedLines {
    fn read(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.0.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let is_whole = line.pop_if(|last| *last == b'\n').is_some() || self.0.skip_until(b'\n')? == 0;
        let line = String::from_utf8_lossy(&line);
        // A truncated line must not pass for an ID.
        Ok(Some(if is_whole { line.into_owned() } else { format!("{line}…") }))
    }
}

/// Counts what happened to the IDs, and prints the first refusals.
#[derive(Debug, Default)]
struct Tally {
    new: u64,
    known: u64,
    refused: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, enqueued: &Enqueued) -> io::Result<()> {
        self.new += enqueued.new;
        self.known += enqueued.known;
        enqueued.refused.iter().try_for_each(|(id, sentence)| self.refuse(&format!("{id}: {sentence}")))
    }

    fn refuse(&mut self, why: &str) -> io::Result<()> {
        count_and_print(&mut self.refused, why)
    }

    /// Counts a line that is neither enqueued nor refused.
    fn skip(&mut self, why: &str) -> io::Result<()> {
        count_and_print(&mut self.skipped, why)
    }

    fn finish(self) -> io::Result<Code> {
        if self.refused > MAX_PRINTED {
            writeln!(io::stderr(), "… and {} more refused", self.refused - MAX_PRINTED)?;
        }
        writeln!(io::stdout(), "{} new, {} known, {} refused", self.new, self.known, self.refused)?;
        Ok(if self.refused == 0 { Code::Done } else { Code::PartlyDone })
    }
}

fn count_and_print(count: &mut u64, why: &str) -> io::Result<()> {
    *count += 1;
    if *count <= MAX_PRINTED { writeln!(io::stderr(), "{why}") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_truncated_and_the_next_one_is_whole() {
        let text = format!("abcd{}x\nefgh\n\n{}", " ".repeat(10_000_000), "y".repeat(5_000));
        let lines: Vec<String> = TruncatedLines(Box::new(io::Cursor::new(text))).map(Result::unwrap).collect();
        assert_eq!(lines[1..3], ["efgh", ""]);
        assert!(lines[0].starts_with("abcd ") && lines[0].ends_with(" …") && lines[0].len() < 5_000);
        assert!(lines[3].ends_with("y…") && lines.len() == 4);
    }
}
