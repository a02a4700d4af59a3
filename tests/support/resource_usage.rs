//! What a running process used of the machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Process;

/// What a thread took of the processor's time so far, to the nanosecond, by its folder in `/proc`; none if it has ended.
pub(crate) fn processor_time(thread: &Path) -> Option<Duration> {
    let line = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(line.split(' ').next()?.parse().ok()?))
}

impl Process {
    /// What its threads took of the processor's time so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.filter_map(|thread| processor_time(&thread.unwrap().path())).sum()
    }

    /// The most memory that it ever had, in kilobytes.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
