//! A list: one certificate ID a line.

use std::io::{self, BufRead, Read as _};

use super::row::{Column, Defaults, Entry, Line};

/// Longer lines are truncated. No ID is nearly as long.
const MAX_LINE_BYTES: u64 = 4096;

/// The lines of a list. Empty lines and those that start with `#` are skipped.
pub(super) struct List {
    lines: TruncatedLines,
    defaults: Defaults,
    number: u64,
}

impl List {
    pub(super) fn new(reader: Box<dyn BufRead>, defaults: Defaults) -> Self {
        Self { lines: TruncatedLines(reader), defaults, number: 0 }
    }

    fn entry(&self, text: &str) -> Option<Entry> {
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let is_header = Column::of_header(text) == Some(Column::CertificateId);
        Some(if is_header { Entry::Header(text.to_owned()) } else { self.defaults.of_id(text) })
    }
}

impl Iterator for List {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.lines.next()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            self.number += 1;
            if let Some(entry) = self.entry(line.trim()) {
                return Some(Ok(Line { number: Some(self.number), entry }));
            }
        }
    }
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
