//! What the kernel says about a process: its program, when it started, and whether it is stopped.
//! <https://docs.kernel.org/filesystems/proc.html>, sections 1.1 and 1.7.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::escaping::printable;

/// Longer command lines are cut.
const LONGEST: usize = 60;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its ID.
    pub pid: i32,
    /// Its program, with its arguments.
    pub program: Option<String>,
    /// When it started.
    pub started: Option<UnixMillis>,
    /// Whether a signal or a debugger stopped it, so that it does nothing.
    pub is_stopped: bool,
}

impl Process {
    /// The process with this ID, as far as this user sees it.
    #[must_use]
    pub fn of(pid: i32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        let stat = stat.as_deref().and_then(Stat::parse);
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|text| booted(&text));
        let started = booted.zip(stat).map(|(booted, stat)| UnixMillis::of_seconds(booted).plus(stat.started_after));
        Self { pid, program: program(pid), started, is_stopped: stat.is_some_and(|stat| stat.is_stopped) }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match (&self.program, self.started) {
            (Some(program), Some(started)) => write!(f, " ({program}, started {started})"),
            (Some(program), None) => write!(f, " ({program})"),
            (None, Some(started)) => write!(f, " (started {started})"),
            (None, None) => Ok(()),
        }
    }
}

/// The command line, without the program's directory; the name, if there is none.
fn program(pid: i32) -> Option<String> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = command_line(&String::from_utf8_lossy(&arguments));
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let text = if line.is_empty() { name()? } else { line };
    Some(printable(text.trim(), LONGEST))
}

/// The words of a command, each of which ends with a zero byte.
fn command_line(arguments: &str) -> String {
    let (program, rest) = arguments.split_once('\0').unwrap_or((arguments, ""));
    let program = program.rsplit('/').next().unwrap_or_default();
    let words = rest.split(|letter: char| letter == '\0' || letter.is_whitespace()).filter(|word| !word.is_empty());
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    is_stopped: bool,
    /// After the boot.
    started_after: Duration,
}

impl Stat {
    /// The second field is the name in parentheses, which can contain anything; the third is the state, and the 22nd the time of
    /// the start, in clock ticks.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(19)?.parse().ok()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let started_after = Duration::from_millis(ticks.saturating_mul(1000) / per_second);
        Some(Self { is_stopped: matches!(fields.first(), Some(&"T" | &"t")), started_after })
    }
}

/// When the machine booted, in unix seconds: the line `btime` of `/proc/stat`.
fn booted(text: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn this_process_has_a_program_has_started_and_is_not_stopped() {
        let this = Process::of(i32::try_from(std::process::id()).unwrap());
        let now = clock::now().unix;
        assert!(
            this.started.is_some_and(|at| at <= now.plus(Duration::from_secs(1)) && now.since(at).as_secs() < 3600),
            "{this}"
        );
        assert!(
            this.program.as_ref().is_some_and(|program| program.contains("certcommit")) && !this.is_stopped,
            "{this}"
        );
    }

    #[test]
    fn a_stopped_process_with_any_name_is_recognized() {
        let fields = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 250 0 0";
        for (state, is_stopped) in [("S", false), ("R", false), ("T", true), ("t", true)] {
            let stat = Stat::parse(&format!("7 (a) T (b) {state} {fields}")).unwrap();
            assert_eq!(stat.is_stopped, is_stopped, "{state}");
            assert!(stat.started_after > Duration::ZERO);
        }
        assert_eq!(Stat::parse("nonsense"), None);
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\nx 1\n"), Some(1_700_000_000));
    }

    #[test]
    fn a_command_line_is_shown_on_one_line_without_the_programs_directory() {
        assert_eq!(
            command_line("/usr/bin/python3\0-c\0\nimport time\n  time.sleep(1)\0"),
            "python3 -c import time time.sleep(1)"
        );
        assert_eq!([command_line("certcommit\0run\0"), command_line("")], ["certcommit run", ""]);
    }

    #[test]
    fn a_process_is_described_as_far_as_it_is_known() {
        let nobody = Process { pid: 7, program: None, started: None, is_stopped: false };
        assert_eq!(nobody.to_string(), "process 7");
        let known = Process { program: Some("sqlite3 queue.db".to_owned()), started: Some(UnixMillis(0)), ..nobody };
        assert_eq!(known.to_string(), "process 7 (sqlite3 queue.db, started 1970-01-01T00:00:00Z)");
    }
}
