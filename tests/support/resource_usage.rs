//! CPU time and memory of a running process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Process;

/// The CPU time of a thread so far, by its folder in `/proc`; `None` if it has ended.
pub(crate) fn processor_time(thread: &Path) -> Option<Duration> {
    let line = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(line.split(' ').next()?.parse().ok()?))
}

/// The peak memory of a process so far, in kilobytes; `None` if it has ended.
pub(crate) fn peak_memory_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

impl Process {
    /// The CPU time of all its threads so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.filter_map(|thread| processor_time(&thread.unwrap().path())).sum()
    }

    /// Its peak memory, in kilobytes.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        peak_memory_kb(self.pid()).expect("it runs")
    }
}
