//! What becomes of the lines: counts, the first refusals on standard error, and all of them in a file if it is wanted.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use indicatif::ProgressBar;

use super::row::{Column, Refusal};
use crate::cli::exit::{Code, Failure};
use crate::queue::{Enqueued, Staged};

/// At most this many refused lines are printed, and this many skipped ones.
const MAX_PRINTED: u64 = 20;

/// The counts, and where refusals go.
pub(super) struct Report {
    new: u64,
    known: u64,
    refused: u64,
    skipped: u64,
    file: Option<csv::Writer<File>>,
    bar: ProgressBar,
}

impl Report {
    /// Creates the file for the refused lines, if one is named.
    pub(super) fn new(refused: Option<&Path>, bar: ProgressBar) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let mut file = csv::Writer::from_path(path)?;
            file.write_record(["line", "column", "value", "reason"])?;
            Ok(file)
        };
        let unusable = |path: &Path, error: csv::Error| {
            Failure::new(Code::Usage, format!("{} can't be written: {error}", path.display()))
        };
        let file = refused.map(|path| create(path).map_err(|error| unusable(path, error))).transpose()?;
        Ok(Self { new: 0, known: 0, refused: 0, skipped: 0, file, bar })
    }

    /// Counts submissions.
    pub(super) fn count(&mut self, new: u64, known: u64) {
        self.new += new;
        self.known += known;
    }

    /// Counts what became of these submissions.
    pub(super) fn add(&mut self, enqueued: Enqueued, submissions: &[Staged]) -> io::Result<()> {
        self.count(enqueued.new, enqueued.known);
        for (index, sentence) in enqueued.refused {
            let Some(Staged { line, submission }) = submissions.get(index) else { continue };
            let value = submission.certificate_id.to_string();
            let reason = format!("{value}: {sentence}");
            self.refuse(*line, &Refusal { column: Some(Column::CertificateId), value, reason })?;
        }
        Ok(())
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn refuse(&mut self, line: Option<u64>, refusal: &Refusal) -> io::Result<()> {
        self.refused += 1;
        let Refusal { column, value, reason } = refusal;
        if let Some(file) = &mut self.file {
            let line = line.map(|line| line.to_string()).unwrap_or_default();
            file.write_record([line.as_str(), column.map_or("", Column::as_str), value, reason])?;
        }
        self.print(self.refused, &format!("{}: {reason}", prefix(line)))
    }

    /// Counts a line that is neither enqueued nor refused.
    pub(super) fn skip(&mut self, line: Option<u64>, header: &str) -> io::Result<()> {
        self.skipped += 1;
        self.print(self.skipped, &format!("{}: skipped {header}, which is a column header, not an ID", prefix(line)))
    }

    fn print(&self, count: u64, line: &str) -> io::Result<()> {
        if count <= MAX_PRINTED { self.bar.suspend(|| writeln!(io::stderr(), "{line}")) } else { Ok(()) }
    }

    /// Prints the counts. `outcome` follows them.
    pub(super) fn finish(mut self, outcome: &str) -> io::Result<Code> {
        self.bar.finish_and_clear();
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        if self.refused > MAX_PRINTED {
            writeln!(io::stderr(), "… and {} more refused", self.refused - MAX_PRINTED)?;
        }
        writeln!(io::stdout(), "{} new, {} known, {} refused{outcome}", self.new, self.known, self.refused)?;
        Ok(if self.refused == 0 { Code::Done } else { Code::PartlyDone })
    }
}

fn prefix(line: Option<u64>) -> String {
    line.map_or_else(|| "refused".to_owned(), |line| format!("line {line}"))
}
