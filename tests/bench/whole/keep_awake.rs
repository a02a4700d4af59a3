//! Keeps the CPUs from sleeping, by loops of idle priority, so that work starts at once and with warm caches. The difference
//! shows what waking up costs on this machine.

use std::process::{Child, Command};
use std::thread::{available_parallelism, panicking};

/// Loops until its parent is gone.
const LOOP: &str = "while kill -0 $PPID; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done";

/// Keeps all CPUs awake until it is dropped.
pub(crate) struct KeptAwake(Vec<Child>);

impl KeptAwake {
    pub(crate) fn begin() -> Self {
        let begin = |_| Command::new("chrt").args(["--idle", "0", "sh", "-c", LOOP]).spawn().unwrap();
        Self((0..available_parallelism().unwrap().get()).map(begin).collect())
    }
}

impl Drop for KeptAwake {
    /// Ends the loops. If one has ended early, the measurement is invalid.
    fn drop(&mut self) {
        for spinning in &mut self.0 {
            let ended = spinning.try_wait().unwrap();
            assert!(ended.is_none() || panicking(), "a loop ended early ({ended:?}), so a CPU slept");
            spinning.kill().unwrap();
            spinning.wait().unwrap();
        }
    }
}
