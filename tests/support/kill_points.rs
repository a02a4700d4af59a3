//! Kills the program with `strace` as it enters a system call, and finds out which calls it makes.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::{Bench, output, text};

/// Calls that involve files, sockets and other descriptors.
const RELEVANT: &str = "%desc,%file,%network";

/// Some of those only wait, map memory or start the program. They change nothing on disk or on the wire.
const INERT: [&str; 7] = ["mmap", "epoll_wait", "epoll_ctl", "epoll_create1", "eventfd2", "poll", "execve"];

const SIGKILL: i32 = 9;

/// Calls that change the disk are counted by file. Threads write to different files: counted together, a thread that writes
/// often would always be killed before the others.
const CHANGING: [&str; 5] = ["pwrite64", "fsync", "fdatasync", "ftruncate", "unlink"];

/// The departure marker, whose name differs from queue to queue.
pub(crate) const MARKER: &str = "departures";

/// A system call. If it changes a file, also which: its name in the database's directory, empty for the directory; or the
/// departure marker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) file: Option<String>,
}

/// Where the program is killed: as it enters a system call for the `nth` time. Each thread counts separately; the first to
/// reach the count triggers the kill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) call: Call,
    pub(crate) nth: usize,
}

impl Call {
    /// Any call of this name.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), file: None }
    }

    /// The thread and the call in a line of strace's output.
    fn entered<'a>(line: &'a str, directory: &str, marker: &str) -> Option<(&'a str, Self)> {
        let (thread, what) = line.split_once(' ')?;
        let (name, arguments) = what.trim_start().split_once('(')?;
        let named = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        named.then_some(())?;
        if !CHANGING.contains(&name) {
            return Some((thread, Self::named(name)));
        }
        let file = match arguments.split_once(directory) {
            Some((_, rest)) => rest.split(['"', '>']).next()?.trim_start_matches('/'),
            None => arguments.contains(marker).then_some(MARKER)?,
        };
        Some((thread, Self { name: name.to_owned(), file: Some(file.to_owned()) }))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.as_deref() {
            None => write!(formatter, "{}", self.name),
            Some("") => write!(formatter, "{} of the directory", self.name),
            Some(file) => write!(formatter, "{} of {file}", self.name),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} no. {}", self.call, self.nth)
    }
}

impl Bench {
    /// Runs the program to its end. Returns how often it enters each system call that touches the disk or the network: the
    /// highest count of any thread.
    pub(crate) async fn call_counts(&self, arguments: &[&str]) -> BTreeMap<Call, usize> {
        let trace = self.path("trace");
        let relevant = format!("trace={RELEVANT}");
        let command = self.strace(&["-y", "-e", &relevant, "-o", &text(&trace)], arguments);
        let ended = output(command).await;
        assert!(ended.status.success(), "{ended:?}");
        let directory = text(self.database().parent().expect("the database is in a directory"));
        let marker = text(&self.departure_marker());
        let mut calls: BTreeMap<(Call, String), usize> = BTreeMap::new();
        for line in std::fs::read_to_string(&trace).unwrap().lines() {
            if let Some((thread, call)) = Call::entered(line, &directory, &marker) {
                *calls.entry((call, thread.to_owned())).or_default() += 1;
            }
        }
        let mut highest: BTreeMap<Call, usize> = BTreeMap::new();
        for ((call, _), count) in calls {
            let so_far = highest.entry(call).or_default();
            *so_far = count.max(*so_far);
        }
        highest.retain(|call, _| !INERT.contains(&call.name.as_str()));
        highest
    }

    /// Runs the program, and kills it at this point. Returns false if it exited successfully before reaching it.
    pub(crate) async fn killed_at(&self, point: &Point, arguments: &[&str]) -> bool {
        let Point { call: Call { name, file }, nth } = point;
        let (trace, inject) = (format!("trace={name}"), format!("inject={name}:signal=KILL:when={nth}"));
        let log = text(&self.path("trace"));
        let mut options = vec!["-e", &trace, "-e", &inject, "-o", &log];
        let path = file.as_deref().map(|file| match file {
            MARKER => text(&self.departure_marker()),
            file => text(&self.path(file)),
        });
        if let Some(path) = &path {
            options.extend(["-P", path.trim_end_matches('/')]);
        }
        let ended = output(self.strace(&options, arguments)).await;
        let killed = ended.status.signal() == Some(SIGKILL);
        assert!(killed || ended.status.success(), "{point}: {ended:?}");
        killed
    }

    fn strace(&self, options: &[&str], arguments: &[&str]) -> Command {
        self.command_under(&[&["strace", "-f"], options].concat(), arguments)
    }
}
