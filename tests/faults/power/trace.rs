//! What programs did to the files of a directory and on their sockets, in order, from strace's output.

use std::collections::HashMap;
use std::path::Path;

/// The system calls to record.
pub(super) const CALLS: &str = "openat,pwrite64,write,writev,sendto,sendmsg,ftruncate,fsync,fdatasync,unlink,renameat2";

/// One event. Files are named by their names in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A file was created.
    Create(String),
    /// A file was unlinked.
    Unlink(String),
    /// A file was renamed.
    Rename { from: String, to: String },
    /// Bytes were written.
    Write { file: String, offset: usize, bytes: Vec<u8> },
    /// A file was truncated or extended.
    Truncate { file: String, length: usize },
    /// A sync of a file ended that had begun before this event; it may have missed later writes.
    Sync { file: String, begun: usize },
    /// A sync of the directory ended, likewise.
    SyncDirectory { begun: usize },
    /// The first byte of a commit for this certificate may have been sent.
    Send { certificate_id: String },
    /// This many rows were reported as enqueued.
    Reported { rows: usize },
}

/// A call that had not returned when another thread's was recorded.
struct Unfinished {
    text: String,
    begun: usize,
}

struct Reader<'a> {
    directory: &'a Path,
    events: Vec<Event>,
    unfinished: HashMap<String, Unfinished>,
    /// By socket: the index in `events` of a commit whose head was sent, and whose body was not seen yet.
    heads: HashMap<String, usize>,
    names: Vec<String>,
}

/// Reads a recording (`strace -f -y -xx`) of what happened to the files in a directory that initially has these files.
pub(super) fn read(recording: &str, directory: &Path, names: &[&str]) -> Vec<Event> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let mut reader = Reader { directory, events: Vec::new(), unfinished: HashMap::new(), heads: HashMap::new(), names };
    for line in recording.lines() {
        let (thread, call) = line.split_once(' ').expect("a line begins with its thread");
        reader.line(thread, call.trim_start());
    }
    assert!(reader.heads.is_empty(), "a commit's head was sent without its body");
    reader.events
}

impl Reader<'_> {
    fn line(&mut self, thread: &str, call: &str) {
        if let Some(text) = call.strip_suffix(" <unfinished ...>") {
            let begun = self.events.len();
            // From the start of the call, the data may reach the disk or the server.
            if !self.write(text) {
                self.unfinished.insert(thread.to_owned(), Unfinished { text: text.to_owned(), begun });
            }
        } else if call.starts_with("<... ") {
            let Some(Unfinished { text, begun }) = self.unfinished.remove(thread) else { return };
            let (_, rest) = call.split_once("resumed>").expect("a resumed call");
            self.returned(&format!("{text}{rest}"), begun);
        } else if !self.write(call) {
            self.returned(call, self.events.len());
        }
    }

    /// Records a call that writes. Returns false for other calls.
    fn write(&mut self, call: &str) -> bool {
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        match name {
            "pwrite64" => {
                if let Some(file) = self.file(arguments) {
                    let numbers = arguments.rsplit_once("\", ").expect("a length and an offset follow").1;
                    let offset = numbers.split([',', ')']).nth(1).expect("an offset").trim();
                    let offset = offset.parse().expect("an offset is a number");
                    self.events.push(Event::Write { file, offset, bytes: texts(arguments) });
                }
            }
            "write" | "writev" | "sendto" | "sendmsg" => {
                assert_eq!(self.file(arguments), None, "{call}: the queue's files are written with pwrite64");
                self.events.extend(report(arguments));
                if let Some(socket) = path(arguments).filter(|path| path.starts_with("socket:")) {
                    self.send(&socket, &texts(arguments));
                }
            }
            _ => return false,
        }
        true
    }

    fn send(&mut self, socket: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let head = text.to_ascii_lowercase().contains("x-tc-action: commitcertificateinformation");
        if head {
            self.heads.insert(socket.to_owned(), self.events.len());
            self.events.push(Event::Send { certificate_id: String::new() });
        }
        let Some((_, rest)) = text.split_once(r#"{"CertificateId":""#) else { return };
        if let Some(at) = self.heads.remove(socket) {
            let certificate_id = rest.split('"').next().expect("an ID has an end").to_owned();
            self.events[at] = Event::Send { certificate_id };
        }
    }

    fn returned(&mut self, call: &str, begun: usize) {
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        let (_, result) = call.rsplit_once(" = ").unwrap_or((call, "-1"));
        // A call during which the process was killed may have taken effect or not.
        if result.starts_with(['-', '?']) {
            return;
        }
        match name {
            "openat" => self.opened(arguments),
            "unlink" => {
                let file = self.within(&String::from_utf8_lossy(&texts(arguments)));
                if let Some(file) = file.filter(|file| self.names.contains(file)) {
                    self.names.retain(|name| *name != file);
                    self.events.push(Event::Unlink(file));
                }
            }
            "renameat2" => {
                let mut names = arguments.split('"').skip(1).step_by(2).map(|path| self.within(&decoded(path)));
                if let (Some(Some(from)), Some(Some(to))) = (names.next(), names.next()) {
                    self.names.retain(|name| *name != from);
                    self.names.push(to.clone());
                    self.events.push(Event::Rename { from, to });
                }
            }
            "ftruncate" => {
                if let Some(file) = self.file(arguments) {
                    let (_, length) = arguments.split_once(">, ").expect("a length follows");
                    let length = length.split(')').next().expect("a length has an end");
                    let length = length.parse().expect("a length is a number");
                    self.events.push(Event::Truncate { file, length });
                }
            }
            "fsync" | "fdatasync" => {
                let synced = path(arguments).expect("a synced file has a path");
                if Path::new(&synced) == self.directory {
                    self.events.push(Event::SyncDirectory { begun });
                } else if let Some(file) = self.within(&synced) {
                    self.events.push(Event::Sync { file, begun });
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, arguments: &str) {
        let file = self.within(&String::from_utf8_lossy(&texts(arguments)));
        if let Some(file) = file.filter(|file| arguments.contains("O_CREAT") && !self.names.contains(file)) {
            self.names.push(file.clone());
            self.events.push(Event::Create(file));
        }
    }

    /// The file in the directory that a call's first argument refers to.
    fn file(&self, arguments: &str) -> Option<String> {
        self.within(&path(arguments)?)
    }

    fn within(&self, path: &str) -> Option<String> {
        let name = Path::new(path).strip_prefix(self.directory).ok()?.to_str()?;
        // After a crash, the content of the lock file doesn't matter, and the index of the log is rebuilt.
        let matters = !name.is_empty() && !name.ends_with("-shm") && !name.ends_with(".lock");
        matters.then(|| name.to_owned())
    }
}

/// The report of `certcommit enqueue`: "3 new, 0 known, 0 refused".
fn report(arguments: &str) -> Option<Event> {
    arguments.starts_with("1<").then_some(())?;
    let text = texts(arguments);
    let rows = std::str::from_utf8(&text).ok()?.split_once(" new, ")?.0.parse().ok()?;
    Some(Event::Reported { rows })
}

/// The path that a call's first argument refers to.
fn path(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(decoded(path))
}

/// A path written as `\x2f\x74`.
fn decoded(path: &str) -> String {
    String::from_utf8_lossy(&unescape(path)).into_owned()
}

/// All texts in a call's arguments, concatenated.
fn texts(arguments: &str) -> Vec<u8> {
    arguments.split('"').skip(1).step_by(2).flat_map(unescape).collect()
}

/// Bytes written as `\x2f\x74`.
fn unescape(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("two hexadecimal digits")).collect()
}
