//! The program killed by `strace` as it enters a system call: which calls it makes, and what a kill at one of them is.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::{Bench, output, text};

/// Calls that go with files, sockets and other descriptors.
const RELEVANT: &str = "%desc,%file,%network";

/// Some of those only wait, give or take memory, or start the program. What is on disk and on the wire is the same
/// before them and after.
const INERT: [&str; 7] = ["mmap", "epoll_wait", "epoll_ctl", "epoll_create1", "eventfd2", "poll", "execve"];

const SIGKILL: i32 = 9;

/// Where the program is killed: as it enters a system call for the `nth` time. Each thread counts for itself, and the
/// first that gets there counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) call: String,
    pub(crate) nth: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.call, self.nth)
    }
}

impl Bench {
    /// Runs the program to its end, and counts how often it enters each system call that touches the disk or the
    /// network: the most that any of its threads did.
    pub(crate) async fn census(&self, arguments: &[&str]) -> BTreeMap<String, usize> {
        let trace = self.path("trace");
        let relevant = format!("trace={RELEVANT}");
        let command = self.strace(&["-e", &relevant, "-o", &text(&trace)], arguments);
        let ended = output(command).await;
        assert!(ended.status.success(), "{ended:?}");
        let mut calls: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in std::fs::read_to_string(&trace).unwrap().lines() {
            if let Some((thread, call)) = entered(line) {
                *calls.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
            }
        }
        let mut most: BTreeMap<String, usize> = BTreeMap::new();
        for ((call, _), count) in calls {
            let so_far = most.entry(call).or_default();
            *so_far = count.max(*so_far);
        }
        most.retain(|call, _| !INERT.contains(&call.as_str()));
        most
    }

    /// Runs the program, and kills it at this point: whether it got there. If it didn't, it ended well.
    pub(crate) async fn killed_at(&self, point: &Point, arguments: &[&str]) -> bool {
        let Point { call, nth } = point;
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let file = text(&self.path("trace"));
        let ended = output(self.strace(&["-e", &trace, "-e", &inject, "-o", &file], arguments)).await;
        let killed = ended.status.signal() == Some(SIGKILL);
        assert!(killed || ended.status.success(), "{point}: {ended:?}");
        killed
    }

    fn strace(&self, options: &[&str], arguments: &[&str]) -> Command {
        self.command_under(&[&["strace", "-f"], options].concat(), arguments)
    }
}

/// The thread and the system call of a line that says that one was entered.
fn entered(line: &str) -> Option<(&str, &str)> {
    let (thread, what) = line.split_once(' ')?;
    let (call, _) = what.trim_start().split_once('(')?;
    let named = !call.is_empty() && call.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    named.then_some((thread, call))
}
