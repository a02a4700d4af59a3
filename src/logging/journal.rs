//! systemd's journal: each event is an entry with native fields, sent by the journal's native protocol.
//!
//! `tracing-journald` won't do: it writes values unescaped, so that one escape sequence makes `journalctl` show
//! `[blob data]`, and a line break looks like another line; it blocks while the journal is stuck; and it silently drops what
//! it can't send. The protocol is simple: a datagram of `NAME=value` lines.
//!
//! The protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. The fields: systemd.journal-fields(7).

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use crate::escaping::printable;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What `journalctl -t` looks for.
const IDENTIFIER: &str = "certcommit";
/// The prefix of our own fields' names.
const PREFIX: &str = "CERTCOMMIT_";
/// The journal rejects longer names.
const LONGEST_NAME: usize = 64;
/// In bytes. `journalctl -o json` shows null for a field that has more than 4,096 with its name.
const LONGEST_VALUE: usize = 4000;
/// The most entries kept for a journal that is stuck; further ones are dropped, and counted.
const MAX_WAITING: usize = 1000;

/// Whether systemd connected this stream to the journal: `$JOURNAL_STREAM` has its device and inode. See systemd.exec(5).
pub(super) fn is_stream(named: Option<&str>, stream: impl AsFd) -> bool {
    let Ok(found) = rustix::fs::fstat(stream) else { return false };
    named == Some(format!("{}:{}", found.st_dev, found.st_ino).as_str())
}

/// The journal. The daemon never waits for it.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    waiting: Mutex<Waiting>,
}

/// What the journal hasn't accepted yet.
#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    lost: u64,
}

impl Journal {
    /// Opens the journal that listens on this socket.
    ///
    /// # Errors
    /// When none does.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // The journal ignores an empty datagram.
        socket.send_to(&[], path)?;
        Ok(Self { socket, path: path.to_owned(), waiting: Mutex::default() })
    }

    /// Sends an entry, after those that wait. What the journal rejects goes to `fallback`.
    fn send(&self, entry: Entry, fallback: impl Fn(&Entry)) {
        let waiting = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.entries.front().is_some_and(|earlier| self.offer(earlier, &fallback)) {
            waiting.entries.pop_front();
        }
        let caught_up = waiting.entries.is_empty();
        if caught_up && waiting.lost > 0 && self.offer(&Entry::of_lost(waiting.lost), &fallback) {
            waiting.lost = 0;
        }
        if !(caught_up && waiting.lost == 0 && self.offer(&entry, fallback)) {
            waiting.keep(entry);
        }
    }

    /// Whether the entry is done with; if not, the journal is stuck, and the entry must wait.
    fn offer(&self, entry: &Entry, fallback: impl Fn(&Entry)) -> bool {
        match self.socket.send_to(entry.datagram().as_bytes(), &self.path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                fallback(entry);
                true
            }
        }
    }
}

impl Waiting {
    fn keep(&mut self, entry: Entry) {
        if self.entries.len() < MAX_WAITING {
            self.entries.push_back(entry);
        } else {
            self.lost += 1;
        }
    }
}

/// Writes events to the journal, and those that it rejects to `fallback`.
pub(super) struct JournalLayer<W> {
    pub(super) journal: Arc<Journal>,
    pub(super) fallback: W,
}

impl<S, W> Layer<S> for JournalLayer<W>
where
    S: Subscriber,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        self.journal.send(Entry::of(event), |entry| entry.write_line(self.fallback.make_writer()));
    }
}

/// An entry, whose values are escaped and truncated.
#[derive(Debug)]
struct Entry {
    priority: u8,
    target: String,
    message: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn of(event: &tracing::Event<'_>) -> Self {
        let metadata = event.metadata();
        let target = escaped(metadata.target());
        let mut entry =
            Self { priority: priority(*metadata.level()), target, message: String::new(), fields: Vec::new() };
        event.record(&mut entry);
        if entry.message.is_empty() {
            // `journalctl` shows no entry without a message.
            entry.message = escaped(metadata.name());
        }
        entry
    }

    fn of_lost(lost: u64) -> Self {
        Self {
            priority: priority(Level::WARN),
            target: module_path!().to_owned(),
            message: format!(
                "the journal was stuck, and {lost} lines of this log are lost; the database has every request"
            ),
            fields: Vec::new(),
        }
    }

    /// The entry in the journal's protocol. No value has a line break, so none needs the form with a length.
    fn datagram(&self) -> String {
        let Self { priority, target, message, fields } = self;
        let mut datagram =
            format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nTARGET={target}\nMESSAGE={message}\n");
        for (name, value) in fields {
            // Writing to a String can't fail.
            writeln!(datagram, "{}={value}", native(name)).unwrap_or_default();
        }
        datagram
    }

    /// The entry as a line with the priority that systemd reads. See sd-daemon(3).
    fn write_line(&self, mut writer: impl io::Write) {
        let fields: String = self.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        // If this fails too, there is nowhere left to report it.
        writer.write_all(format!("<{}>{}{fields}\n", self.priority, self.message).as_bytes()).unwrap_or_default();
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.trim_start_matches("r#").to_owned(), value)),
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, escaped(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, escaped(&format!("{value:?}")));
    }
}

/// `request_id` becomes `CERTCOMMIT_REQUEST_ID`: the journal accepts only capitals, digits and underscores.
fn native(name: &str) -> String {
    let letters =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' });
    PREFIX.chars().chain(letters).take(LONGEST_NAME).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = printable(text, LONGEST_VALUE);
    if escaped.len() > LONGEST_VALUE {
        escaped.truncate(escaped.floor_char_boundary(LONGEST_VALUE));
        escaped.push('…');
    }
    escaped
}

/// The priorities of syslog(3). Routine work is informational, not a notice.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
