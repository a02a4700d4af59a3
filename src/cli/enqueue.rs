//! `certcommit enqueue`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::exit::{Code, Failure};
use crate::config::Settings;
use crate::queue::{Enqueued, NewSubmission, Opening, Queue};
use crate::submission::{CertificateId, VerifyType};

/// Submissions in one transaction: short enough for others who write.
const BATCH: usize = 5_000;
/// A line is cut after so many bytes: no ID is nearly as long.
const LONGEST_LINE: u64 = 4096;
/// The names of a column of IDs, in small letters and without `_` and `-`.
const HEADERS: [&str; 5] = ["certificateid", "certificateids", "certid", "certids", "id"];
/// Refusals that are shown one by one.
const SHOWN: u64 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Certificate IDs.
    #[arg(value_name = "ID", required_unless_present = "file", conflicts_with = "file")]
    ids: Vec<String>,
    /// A file with one certificate ID a line; - for standard input. Empty lines, lines with # and a header are skipped.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How the domain is validated: DNS_AUTO, DNS, FILE, DNS_PROXY or FILE_PROXY.
    #[arg(long, value_name = "TYPE")]
    verify_type: Option<VerifyType>,
    /// 0 to 3; higher goes first.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    priority: u8,
    /// Not before this time: unix seconds, or ISO 8601 such as 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    due_at: Option<i64>,
    /// Your own key, for reports and for `cancel --reference`.
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
    // First: a file that isn't there makes no queue.
    let lines = lines(&arguments)?;
    let mut queue = Queue::open(&settings.database, Opening::Create).await?;
    let mut teller = Teller::default();
    let mut batch = Vec::new();
    for line in lines {
        let (number, text) = line?;
        if arguments.file.is_some() && is_header(&text) {
            teller.pass_over(&format!("{number}: {text} is the header of a column, and no ID; it was not enqueued"))?;
            continue;
        }
        match text.parse::<CertificateId>() {
            Ok(certificate_id) => batch.push(arguments.submission(certificate_id)),
            Err(error) => teller.refuse(&format!("{number}: {error}"))?,
        }
        if batch.len() == BATCH {
            teller.tell(&queue.enqueue(&batch).await?)?;
            batch.clear();
        }
    }
    teller.tell(&queue.enqueue(&batch).await?)?;
    queue.close().await?;
    teller.finish()
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

/// Whether a line of a file names the column, as exports of tables begin. It would pass for an ID.
fn is_header(line: &str) -> bool {
    let letters: String = line.chars().filter(|letter| !matches!(letter, '_' | '-')).collect();
    HEADERS.contains(&letters.to_ascii_lowercase().as_str())
}

type Lines = Box<dyn Iterator<Item = Result<(String, String), Failure>>>;

/// The IDs, each with where it stood.
fn lines(arguments: &Arguments) -> Result<Lines, Failure> {
    let Some(path) = &arguments.file else {
        let ids = arguments.ids.clone().into_iter();
        return Ok(Box::new(ids.map(|id| Ok(("refused".to_owned(), id)))));
    };
    let (reader, name): (Box<dyn BufRead>, _) = if path == Path::new("-") {
        (Box::new(BufReader::new(std::io::stdin())), "standard input".to_owned())
    } else {
        let name = path.display().to_string();
        (Box::new(BufReader::new(open(path).map_err(|error| unreadable(&name, &error))?)), name)
    };
    let lines = ShortLines(reader).enumerate().map(move |(index, line)| {
        let line = line.map_err(|error| unreadable(&name, &error))?;
        let mark = if index == 0 { line.strip_prefix('\u{feff}') } else { None };
        let line = mark.unwrap_or(&line);
        Ok((format!("line {}", index + 1), line.trim().to_owned()))
    });
    let wanted = |line: &Result<(String, String), Failure>| !matches!(line, Ok((_, text)) if text.is_empty() || text.starts_with('#'));
    Ok(Box::new(lines.filter(wanted)))
}

/// Opens a file. A directory can be opened, too, and fails only when it is read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// What was named as the source of the IDs can't be read: a mistake of whoever named it.
fn unreadable(name: &str, error: &io::Error) -> Failure {
    let why = if error.kind() == io::ErrorKind::IsADirectory {
        format!("{name} is a directory; name a file with one certificate ID a line")
    } else {
        format!("{name}: {error}")
    };
    Failure::new(Code::Usage, why)
}

/// Lines, each cut after some length, so that no file fills the memory. What isn't UTF-8 is replaced.
struct ShortLines(Box<dyn BufRead>);

impl Iterator for ShortLines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl ShortLines {
    fn read(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.0.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some() || self.0.skip_until(b'\n')? == 0;
        let line = String::from_utf8_lossy(&line);
        // What was cut off must not make an ID of the rest.
        Ok(Some(if whole { line.into_owned() } else { format!("{line}…") }))
    }
}

/// Says how it went.
#[derive(Debug, Default)]
struct Teller {
    new: u64,
    known: u64,
    refused: u64,
    passed_over: u64,
}

impl Teller {
    fn tell(&mut self, enqueued: &Enqueued) -> Result<(), Failure> {
        self.new += enqueued.new;
        self.known += enqueued.known;
        for (certificate_id, sentence) in &enqueued.refused {
            self.refuse(&format!("{certificate_id}: {sentence}"))?;
        }
        Ok(())
    }

    fn refuse(&mut self, why: &str) -> Result<(), Failure> {
        self.refused += 1;
        if self.refused <= SHOWN {
            writeln!(std::io::stderr(), "{why}")?;
        }
        Ok(())
    }

    /// Tells of a line that is neither enqueued nor refused.
    fn pass_over(&mut self, why: &str) -> Result<(), Failure> {
        self.passed_over += 1;
        if self.passed_over <= SHOWN {
            writeln!(std::io::stderr(), "{why}")?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Code, Failure> {
        if self.refused > SHOWN {
            writeln!(std::io::stderr(), "… and {} more were refused", self.refused - SHOWN)?;
        }
        writeln!(std::io::stdout(), "{} new, {} known, {} refused", self.new, self.known, self.refused)?;
        Ok(if self.refused == 0 { Code::Done } else { Code::PartlyDone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_marked_and_the_next_one_is_whole() {
        let text = format!("abcd{}x\nefgh\n\n{}", " ".repeat(10_000_000), "y".repeat(5_000));
        let lines: Vec<String> = ShortLines(Box::new(io::Cursor::new(text))).map(Result::unwrap).collect();
        assert_eq!(lines[1..3], ["efgh", ""]);
        assert!(lines[0].starts_with("abcd ") && lines[0].ends_with(" …") && lines[0].len() < 5_000);
        assert!(lines[3].ends_with("y…") && lines.len() == 4);
    }
}
