//! Where the lines come from: arguments, a list, or a table.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::list::List;
use super::progress;
use super::row::{Defaults, Line};
use super::table::{Table, TableFault, delimiter};
use crate::cli::exit::{Code, Failure};

/// A table's header is found within so many bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// What to read.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) ids: Vec<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) ignore_unknown: bool,
    pub(super) defaults: Defaults,
}

/// The lines, with the bar that shows how many have been read.
pub(super) struct Source {
    lines: Box<dyn Iterator<Item = io::Result<Line>>>,
    name: String,
    pub(super) bar: ProgressBar,
}

impl Source {
    /// Opens the file, and finds out whether it is a list or a table.
    pub(super) fn open(options: &Options) -> Result<Self, Failure> {
        let defaults = options.defaults.clone();
        let Some(path) = &options.file else {
            let entries: Vec<_> = options.ids.iter().map(|id| defaults.of_id(id)).collect();
            let lines = entries.into_iter().map(|entry| Ok(Line { number: None, entry }));
            return Ok(Self { lines: Box::new(lines), name: "the arguments".to_owned(), bar: ProgressBar::hidden() });
        };
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let (reader, bar) = open(path).map_err(|error| unreadable(&name, &error))?;
        let begin = Beginning::read(reader).map_err(|error| unreadable(&name, &error))?;
        if begin.is_utf16 {
            return Err(Failure::new(Code::Usage, format!("{name} is in UTF-16; save it as CSV in UTF-8")));
        }
        if begin.first_line.contains('\r') {
            let message = format!("{name} has lines that end with a carriage return alone; save it with line feeds");
            return Err(Failure::new(Code::Usage, message));
        }
        let lines: Box<dyn Iterator<Item = io::Result<Line>>> = match delimiter(&begin.first_line) {
            Some(delimiter) => {
                let table = Table::new(begin.reader, delimiter, options.ignore_unknown, defaults);
                Box::new(table.map_err(|fault| unusable(&name, &fault))?)
            }
            None => Box::new(List::new(begin.reader, defaults)),
        };
        Ok(Self { lines, name, bar })
    }
}

impl Iterator for Source {
    type Item = Result<Line, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next().map(|line| line.map_err(|error| unreadable(&self.name, &error)))
    }
}

/// The beginning of a file, up to its first line that is neither empty nor a comment.
struct Beginning {
    first_line: String,
    is_utf16: bool,
    /// The whole file, without its byte order mark.
    reader: Box<dyn BufRead>,
}

impl Beginning {
    fn read(mut reader: Box<dyn BufRead>) -> io::Result<Self> {
        let (mut begin, mut line_begins) = (Vec::new(), 0);
        let first_line = loop {
            let left = MAX_HEADER_BYTES.saturating_sub(begin.len());
            let is_end =
                reader.by_ref().take(u64::try_from(left).unwrap_or_default()).read_until(b'\n', &mut begin)? == 0;
            if line_begins == 0 && begin.starts_with(UTF8_MARK) {
                begin.drain(..UTF8_MARK.len());
            }
            let line = String::from_utf8_lossy(begin.get(line_begins..).unwrap_or_default()).trim().to_owned();
            if is_end || !(line.is_empty() || line.starts_with('#')) {
                break line;
            }
            line_begins = begin.len();
        };
        let is_utf16 = UTF16_MARKS.iter().any(|mark| begin.starts_with(mark));
        Ok(Self { first_line, is_utf16, reader: Box::new(Cursor::new(begin).chain(reader)) })
    }
}

/// Opens a file. A directory can be opened too, but not read.
fn open(path: &Path) -> io::Result<(Box<dyn BufRead>, ProgressBar)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), ProgressBar::hidden()));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let bar = progress::bar(metadata.len());
    Ok((Box::new(BufReader::new(bar.wrap_read(file))), bar))
}

/// A file that can't be read is a usage error.
fn unreadable(name: &str, error: &io::Error) -> Failure {
    let kind = error.kind();
    let message = if kind == io::ErrorKind::IsADirectory {
        format!("{name} is a directory; name a file with one certificate ID per line, or with a table")
    } else if kind == io::ErrorKind::FileTooLarge {
        format!("{name}: {error}; a quote may be missing at the end of a value")
    } else {
        format!("{name}: {error}")
    };
    Failure::new(Code::Usage, message)
}

fn unusable(name: &str, fault: &TableFault) -> Failure {
    if let TableFault::Unreadable(error) = fault {
        return unreadable(name, error);
    }
    Failure::new(Code::Usage, format!("{name}: {fault}; nothing was enqueued"))
}
