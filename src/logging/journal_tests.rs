use std::fs::File;
use std::sync::Mutex;

use tempfile::TempDir;
use tracing::{debug, error, info, trace, warn};

use super::*;
use crate::escaping::is_unsafe;
use crate::logging::level::LogLevel;
use crate::logging::{Destination, LogEvent, level, output};

/// A journal that keeps its entries until they are read.
struct Receiver {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Receiver {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { directory, socket }
    }

    /// Opens it, which sends nothing that would become an entry.
    fn journal(&self) -> Arc<Journal> {
        let journal = Journal::open(&self.path()).unwrap();
        assert_eq!(self.take(), [""]);
        Arc::new(journal)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn take(&self) -> Vec<String> {
        let mut buffer = vec![0; 1 << 20];
        std::iter::from_fn(|| {
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        })
        .collect()
    }
}

/// What went to the fallback.
#[derive(Clone, Default)]
struct Fallback(Arc<Mutex<Vec<u8>>>);

impl io::Write for Fallback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fallback {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn subscriber(journal: &Arc<Journal>, level: LogLevel) -> (impl Subscriber + Send + Sync, Fallback) {
    let fallback = Fallback::default();
    let (destination, writer) = (Destination::Journal(Arc::clone(journal)), fallback.clone());
    let make_output = move |level| {
        let writer = writer.clone();
        output(level, &destination, move || writer.clone())
    };
    (level::subscriber(level, make_output).0, fallback)
}

/// The entries that events produce in the journal.
fn entries(level: LogLevel, events: impl FnOnce()) -> Vec<String> {
    let receiver = Receiver::new();
    let (subscriber, fallback) = subscriber(&receiver.journal(), level);
    tracing::subscriber::with_default(subscriber, events);
    assert_eq!(fallback.text(), "");
    receiver.take()
}

#[test]
fn an_event_is_an_entry_with_native_fields() {
    let order_id: Option<&str> = None;
    let entry = entries(LogLevel::Info, || {
        info!(event = %LogEvent::Submitted, certificate_id = "abcb1234", r#try = 2u32, pace = 19.5, http.status = 200, order_id, "submitted abcb1234");
    });
    let expected = "PRIORITY=6\nSYSLOG_IDENTIFIER=certcommit\nTARGET=certcommit::logging::journal::tests\n\
        MESSAGE=submitted abcb1234\nCERTCOMMIT_EVENT=submitted\nCERTCOMMIT_CERTIFICATE_ID=abcb1234\nCERTCOMMIT_TRY=2\n\
        CERTCOMMIT_PACE=19.5\nCERTCOMMIT_HTTP_STATUS=200\n";
    assert_eq!(entry, [expected]);
}

#[test]
fn each_level_has_its_priority_and_events_of_libraries_come_with_debug() {
    let events = || {
        error!("own");
        warn!("own");
        info!("own");
        debug!("own");
        trace!("own");
        warn!(target: "hyper", "other");
        info!(target: "hyper", "other");
    };
    let priorities = |level| {
        let entries = entries(level, events);
        entries.iter().map(|entry| entry.split_once('\n').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(priorities(LogLevel::Info).join(" "), "PRIORITY=3 PRIORITY=4 PRIORITY=6");
    let all = "PRIORITY=3 PRIORITY=4 PRIORITY=6 PRIORITY=7 PRIORITY=7 PRIORITY=4 PRIORITY=6";
    assert_eq!(priorities(LogLevel::Trace).join(" "), all);
}

#[test]
fn nothing_in_a_value_starts_a_line_or_a_field_or_is_longer_than_journalctl_shows() {
    let evil = "a\nCERTCOMMIT_EVENT=submitted\n\u{1b}[31m\u{0}\u{202e}é";
    let long = "é".repeat(10_000);
    let error = io::Error::other(evil);
    let error: &(dyn std::error::Error + 'static) = &error;
    let entry =
        entries(LogLevel::Info, || warn!(error, text = evil, debug = ?evil, shown = %evil, long, "{evil}")).concat();
    let names: Vec<&str> = entry.lines().map(|line| line.split_once('=').unwrap().0).collect();
    let own = ["CERTCOMMIT_ERROR", "CERTCOMMIT_TEXT", "CERTCOMMIT_DEBUG", "CERTCOMMIT_SHOWN", "CERTCOMMIT_LONG"];
    assert_eq!(names, [&["PRIORITY", "SYSLOG_IDENTIFIER", "TARGET", "MESSAGE"][..], &own[..]].concat());
    assert!(!entry.chars().any(|character| character != '\n' && is_unsafe(character)), "{entry:?}");
    assert!(entry.lines().all(|line| line.len() <= 4096), "{:?}", entry.lines().map(str::len).collect::<Vec<_>>());
}

#[test]
fn an_event_without_a_message_is_shown_by_its_name() {
    let entry = entries(LogLevel::Info, || warn!(number = 1)).concat();
    assert!(entry.contains("\nMESSAGE=event src/logging/journal_tests.rs:"), "{entry}");
}

#[test]
fn a_fields_name_is_one_that_the_journal_accepts() {
    assert_eq!(native("request.id-é"), "CERTCOMMIT_REQUEST_ID__");
    assert_eq!(native(&"x".repeat(100)).len(), 64);
}

#[test]
fn lines_for_a_journal_that_went_away_go_to_the_fallback_with_their_priority() {
    let receiver = Receiver::new();
    let (subscriber, fallback) = subscriber(&receiver.journal(), LogLevel::Info);
    tracing::subscriber::with_default(subscriber, || {
        warn!("before");
        drop(receiver);
        warn!(event = %LogEvent::Failed, text = "a\nb", "failed abcb1234");
        info!("after");
    });
    assert_eq!(fallback.text(), "<4>failed abcb1234 event=failed text=a\\nb\n<6>after\n");
}

#[test]
fn a_stuck_journal_blocks_nothing_and_later_gets_what_it_missed() {
    let receiver = Receiver::new();
    let journal = receiver.journal();
    let (subscriber, fallback) = subscriber(&journal, LogLevel::Info);
    let waiting = || journal.waiting.lock().unwrap().entries.len();
    let mut sent = 0;
    let mut got = Vec::new();
    tracing::subscriber::with_default(subscriber, || {
        while waiting() < 20 {
            info!("line {sent}");
            sent += 1;
        }
        while waiting() > 0 {
            got.extend(receiver.take());
            info!("line {sent}");
            sent += 1;
        }
        got.extend(receiver.take());
    });
    let messages = got.iter().filter_map(|entry| entry.lines().find_map(|line| line.strip_prefix("MESSAGE=")));
    let expected: Vec<String> = (0..sent).map(|number| format!("line {number}")).collect();
    assert_eq!(messages.collect::<Vec<_>>(), expected);
    assert_eq!(fallback.text(), "");
}

#[test]
fn lines_that_a_stuck_journal_missed_for_good_are_counted_and_reported() {
    let receiver = Receiver::new();
    let journal = receiver.journal();
    let (subscriber, _) = subscriber(&journal, LogLevel::Info);
    let lost = || journal.waiting.lock().unwrap().lost;
    let mut got = Vec::new();
    tracing::subscriber::with_default(subscriber, || {
        while lost() < 3 {
            info!("line");
        }
        while lost() > 0 {
            got.extend(receiver.take());
            info!("line");
        }
        got.extend(receiver.take());
    });
    let reports: Vec<&String> = got.iter().filter(|entry| entry.contains("was stuck")).collect();
    let lost = reports[0].split_once("and ").unwrap().1.split_once(' ').unwrap().0.parse::<u64>().unwrap();
    assert!(reports.len() == 1 && lost >= 3 && reports[0].starts_with("PRIORITY=4\n"), "{reports:?}");
}

#[test]
fn no_journal_is_opened_where_none_listens() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Journal::open(&directory.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    File::create(directory.path().join("file")).unwrap();
    Journal::open(&directory.path().join("file")).unwrap_err();
}

#[test]
fn the_journals_stream_is_recognized_by_its_device_and_inode() {
    let stream = tempfile::tempfile().unwrap();
    let found = rustix::fs::fstat(&stream).unwrap();
    let named = format!("{}:{}", found.st_dev, found.st_ino);
    assert!(is_stream(Some(&named), &stream));
    for other in [None, Some(""), Some("0:0"), Some(&named[1..])] {
        assert!(!is_stream(other, &stream), "{other:?}");
    }
    assert!(!is_stream(Some(&named), tempfile::tempfile().unwrap()));
}
