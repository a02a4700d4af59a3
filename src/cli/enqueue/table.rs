//! A table, as spreadsheets save it: a header, and a record for each certificate.
//! <https://www.rfc-editor.org/rfc/rfc4180>, and what programs make of it: other delimiters, a byte order mark, blank lines.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::row::{Column, Defaults, Entry, Line, Refusal, shown};

/// What separates the values. Spreadsheets choose by the language of their user.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// The longest record, so that a quote that isn't closed can't fill the memory with the rest of the file.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The delimiter of a table with this header; none if it isn't the header of a table with several columns, or with quotes.
pub(super) fn delimiter(first_line: &str) -> Option<u8> {
    let known = |delimiter: u8| {
        let headers = first_line.split(char::from(delimiter)).map(|header| header.trim().trim_matches('"'));
        headers.filter(|header| Column::of_header(header).is_some()).count()
    };
    let best = DELIMITERS.into_iter().max_by_key(|delimiter| (known(*delimiter), *delimiter == b','))?;
    let is_table = first_line.contains(char::from(best)) || first_line.starts_with('"');
    (is_table && known(best) > 0).then_some(best)
}

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableFault {
    #[error("the table has no column certificate_id; it has: {0}")]
    NoId(String),
    #[error(
        "certcommit doesn't know these columns: {0}. It knows certificate_id, verify_type, priority, due_at and reference; \
         --ignore-unknown ignores the others"
    )]
    Unknown(String),
    #[error("the table has the column {0} twice")]
    Repeated(Column),
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// What a column of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Known(Column),
    Ignored,
    /// It has no header, so its values are refused.
    Unnamed,
}

/// The records of a table. Those without any value are skipped.
pub(super) struct Table {
    reader: Reader<Bounded>,
    left: Rc<Cell<usize>>,
    columns: Vec<Meaning>,
    /// What a value beyond the last column is.
    beyond: Meaning,
    defaults: Defaults,
    record: ByteRecord,
}

impl Table {
    pub(super) fn new(
        reader: Box<dyn BufRead>,
        delimiter: u8,
        ignore_unknown: bool,
        defaults: Defaults,
    ) -> Result<Self, TableFault> {
        let left = Rc::new(Cell::new(MAX_RECORD_BYTES));
        let bounded = Bounded { reader, left: Rc::clone(&left), last: b'\n' };
        let mut builder = ReaderBuilder::new();
        // With line feeds alone, the reader's position is that of a line. A carriage return is a blank at the end of a value.
        builder.terminator(Terminator::Any(b'\n')).delimiter(delimiter).flexible(true).comment(Some(b'#'));
        let mut reader = builder.from_reader(bounded);
        let headers = reader.byte_headers().map_err(cause)?.clone();
        let columns = columns(&headers, ignore_unknown)?;
        let beyond = if ignore_unknown { Meaning::Ignored } else { Meaning::Unnamed };
        Ok(Self { reader, left, columns, beyond, defaults, record: ByteRecord::new() })
    }

    /// The line on which the record begins: every record ends with its line.
    fn number(&self) -> u64 {
        let within = self.record.iter().flatten().filter(|byte| **byte == b'\n').count();
        let after = self.reader.position().line();
        after.saturating_sub(1).saturating_sub(u64::try_from(within).unwrap_or_default())
    }

    fn entry(&self) -> Entry {
        let mut values = Vec::new();
        for (index, bytes) in self.record.iter().enumerate() {
            let meaning = self.columns.get(index).copied().unwrap_or(self.beyond);
            let column = if let Meaning::Known(column) = meaning { Some(column) } else { None };
            let refused = |reason: String| {
                Entry::Refused(Refusal { column, value: String::from_utf8_lossy(bytes).into_owned(), reason })
            };
            match (meaning, std::str::from_utf8(bytes)) {
                (Meaning::Ignored, _) => {}
                (_, Err(_)) => return refused("the text is not UTF-8; save the table as CSV in UTF-8".to_owned()),
                (Meaning::Known(column), Ok(value)) => values.push((column, value)),
                (Meaning::Unnamed, Ok(value)) if value.trim().is_empty() => {}
                (Meaning::Unnamed, Ok(value)) => {
                    return refused(format!("value {} ({}) has no column header", index + 1, shown(value)));
                }
            }
        }
        self.defaults.of_values(values.into_iter())
    }
}

impl Iterator for Table {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.left.set(MAX_RECORD_BYTES);
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(cause(error))),
            }
            let is_empty = self.record.iter().all(|value| value.trim_ascii().is_empty());
            if !is_empty {
                return Some(Ok(Line { number: Some(self.number()), entry: self.entry() }));
            }
        }
    }
}

fn columns(headers: &ByteRecord, ignore_unknown: bool) -> Result<Vec<Meaning>, TableFault> {
    let names: Vec<String> = headers.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let listed = |names: &[&String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let known: Vec<Option<Column>> = names.iter().map(|name| Column::of_header(name)).collect();
    let unknown: Vec<&String> = names
        .iter()
        .zip(&known)
        .filter(|(name, column)| column.is_none() && !name.is_empty())
        .map(|(name, _)| name)
        .collect();
    if !known.contains(&Some(Column::CertificateId)) {
        return Err(TableFault::NoId(listed(&names.iter().collect::<Vec<_>>())));
    }
    if let Some(twice) =
        Column::ALL.into_iter().find(|column| known.iter().flatten().filter(|one| *one == column).count() > 1)
    {
        return Err(TableFault::Repeated(twice));
    }
    if !unknown.is_empty() && !ignore_unknown {
        return Err(TableFault::Unknown(listed(&unknown)));
    }
    let meaning = |(name, column): (&String, &Option<Column>)| match column {
        Some(column) => Meaning::Known(*column),
        None if ignore_unknown || !name.is_empty() => Meaning::Ignored,
        None => Meaning::Unnamed,
    };
    Ok(names.iter().zip(&known).map(meaning).collect())
}

/// The error of the file, if that is the cause.
fn cause(error: csv::Error) -> io::Error {
    if !error.is_io_error() {
        return io::Error::other(error);
    }
    let text = error.to_string();
    if let csv::ErrorKind::Io(error) = error.into_kind() { error } else { io::Error::other(text) }
}

/// A reader that fails once a record is too long, and whose last line ends like the others.
struct Bounded {
    reader: Box<dyn BufRead>,
    /// How many bytes the current record may still have.
    left: Rc<Cell<usize>>,
    /// The last byte that was read.
    last: u8,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a record has more than a megabyte"));
        }
        let length = buffer.len().min(left);
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let mut read = self.reader.read(buffer)?;
        if let (0, Some(first)) = (read, buffer.first_mut().filter(|_| self.last != b'\n')) {
            *first = b'\n';
            read = 1;
        }
        self.left.set(left - read);
        self.last = read.checked_sub(1).and_then(|last| buffer.get(last)).copied().unwrap_or(self.last);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Vec<Line>, TableFault> {
        let delimiter = delimiter(text.lines().next().unwrap()).expect("a table");
        let table = Table::new(Box::new(io::Cursor::new(text.to_owned())), delimiter, false, Defaults::default())?;
        Ok(table.collect::<io::Result<_>>()?)
    }

    fn ids(lines: &[Line]) -> Vec<(u64, String)> {
        let id = |line: &Line| match &line.entry {
            Entry::Submission(submission) => submission.certificate_id.to_string(),
            Entry::Refused(refusal) => refusal.reason.clone(),
            Entry::Header(text) => panic!("{text}"),
        };
        lines.iter().map(|line| (line.number.unwrap(), id(line))).collect()
    }

    #[test]
    fn the_delimiter_is_the_one_that_separates_known_columns() {
        for (header, expected) in [
            ("certificate_id,reference", Some(b',')),
            ("reference;certificate_id", Some(b';')),
            ("certificate_id\treference", Some(b'\t')),
            ("\"certificate_id\"", Some(b',')),
            ("certificate_id,", Some(b',')),
            ("certificate_id", None),
            ("abcb1234", None),
            ("abcb1234,abcb1235", None),
            ("", None),
        ] {
            assert_eq!(delimiter(header), expected, "{header:?}");
        }
    }

    #[test]
    fn quotes_line_ends_blank_lines_and_blanks_are_read_as_spreadsheets_write_them() {
        let text = "reference,certificate_id\r\n\"spring, \"\"24\"\"\",a1\r\n\r\n,\r\n# a comment\r\n\"two\nlines\", a2 \r\n,a3";
        let lines = table(text).unwrap();
        assert_eq!(ids(&lines), [(2, "a1".to_owned()), (6, "a2".to_owned()), (8, "a3".to_owned())]);
        let Entry::Submission(first) = &lines[0].entry else { panic!("{lines:?}") };
        assert_eq!(first.reference.as_deref(), Some("spring, \"24\""));
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_with_its_names() {
        let fault = |text: &str| table(text).unwrap_err().to_string();
        assert!(
            fault("reference,owner\n")
                .starts_with("the table has no column certificate_id; it has: \"reference\", \"owner\"")
        );
        assert!(
            fault("certificate_id,owner,\n").starts_with("certcommit doesn't know these columns: \"owner\". It knows")
        );
        assert_eq!(fault("certificate_id,id\n"), "the table has the column certificate_id twice");
    }

    #[test]
    fn a_value_without_a_header_is_refused_and_an_empty_one_is_not() {
        let lines = table("certificate_id,\na1,\na2,x\na3,,y\n").unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            ids(&lines)[1..],
            [
                (3, "value 2 (\"x\") has no column header".to_owned()),
                (4, "value 3 (\"y\") has no column header".to_owned()),
            ]
        );
    }

    #[test]
    fn a_quote_that_is_not_closed_ends_the_reading_and_fills_no_memory() {
        let text = format!("certificate_id,reference\na1,\"{}", "x\n".repeat(MAX_RECORD_BYTES));
        let error = match table(&text) {
            Err(TableFault::Unreadable(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
