//! A peer's worker and its child processes, whose cost is measured.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::super::support::processor_time;
use super::site::Site;

/// How often the cost is read. What a thread does after the last reading is missed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A running worker, in a process group of its own.
pub(super) struct Worker {
    process: Child,
    cost: Arc<Mutex<Cost>>,
    ended: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

/// The cost of a process group so far.
#[derive(Debug, Default)]
struct Cost {
    /// The CPU time of each thread, including ended ones.
    threads: HashMap<String, Duration>,
    /// The peak memory of its processes, in kB.
    memory: u64,
}

impl Worker {
    pub(super) fn start(mut command: Command, site: &Site) -> Self {
        let log = fs::File::options().create(true).append(true).open(site.path("worker.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let process = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let (cost, ended) = (Arc::new(Mutex::new(Cost::default())), Arc::new(AtomicBool::new(false)));
        let watch = std::thread::spawn({
            let (group, cost, ended) = (process.id(), Arc::clone(&cost), Arc::clone(&ended));
            move || {
                while !ended.load(Ordering::Relaxed) {
                    cost.lock().unwrap().update(group);
                    std::thread::sleep(POLL_INTERVAL);
                }
            }
        });
        Self { process, cost, ended, watch: Some(watch) }
    }

    /// The CPU time so far.
    pub(super) fn processor_time(&self) -> Duration {
        let mut cost = self.cost.lock().unwrap();
        cost.update(self.process.id());
        cost.threads.values().sum()
    }

    /// The peak memory so far, in kB.
    pub(super) fn memory(&self) -> u64 {
        self.cost.lock().unwrap().memory
    }

    /// Kills all its processes.
    pub(super) fn kill(self) {
        drop(self);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.process);
        kill_process_group(group, Signal::KILL).unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
        self.ended.store(true, Ordering::Relaxed);
        self.watch.take().unwrap().join().unwrap_or_default();
    }
}

impl Cost {
    fn update(&mut self, group: u32) {
        let mut memory = 0;
        for process in members(group) {
            memory += peak_memory(&process).unwrap_or_default();
            for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
                if let Some(used) = processor_time(&thread.path()) {
                    self.threads.insert(thread.file_name().to_string_lossy().into_owned(), used);
                }
            }
        }
        self.memory = self.memory.max(memory);
    }
}

/// The processes of a group.
fn members(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.filter(|process| group_of(process) == Some(group)).collect()
}

fn group_of(process: &str) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may contain anything, come state, parent and group.
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

fn peak_memory(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
