//! What a running process used of the machine.

use std::fs;
use std::time::Duration;

use super::Process;

impl Process {
    /// What its threads took of the processor's time so far, to the nanosecond.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads
            .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("schedstat")).ok())
            .map(|line| Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap()))
            .sum()
    }

    /// The most memory that it ever had, in kilobytes.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
