//! Processors that are kept from sleeping, by loops of idle priority: whoever has work is served at once, and with warm
//! caches. What becomes cheaper meanwhile is what waking up costs on this machine.

use std::process::{Child, Command};
use std::thread::{available_parallelism, panicking};

/// Loops until the one that began it is gone.
const LOOP: &str = "while kill -0 $PPID; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done";

/// As long as it lives, no processor sleeps.
pub(crate) struct KeptAwake(Vec<Child>);

impl KeptAwake {
    pub(crate) fn begin() -> Self {
        let begin = |_| Command::new("chrt").args(["--idle", "0", "sh", "-c", LOOP]).spawn().unwrap();
        Self((0..available_parallelism().unwrap().get()).map(begin).collect())
    }
}

impl Drop for KeptAwake {
    /// Ends the loops, which have to be there still: otherwise what was measured was something else.
    fn drop(&mut self) {
        for spinning in &mut self.0 {
            let ended = spinning.try_wait().unwrap();
            assert!(ended.is_none() || panicking(), "a loop ended early ({ended:?}), and a processor slept");
            spinning.kill().unwrap();
            spinning.wait().unwrap();
        }
    }
}
