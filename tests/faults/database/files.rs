//! The queue's files are moved while the daemon runs.

use std::fs;

use super::bench;
use crate::support::{event_of, ids, in_time};

#[tokio::test]
async fn moved_files_end_the_daemon_with_76_idle_or_busy() {
    for (suffix, busy) in [("", false), ("", true), ("-wal", false), ("-shm", true)] {
        let bench = bench().await;
        if busy {
            bench.enqueue(&ids(60)).await;
        }
        let mut daemon = bench.spawn(&["run"]);
        daemon.until_event("ready").await;
        if busy {
            in_time("some commits", bench.simulator.until_commits(6)).await;
        }
        let file = bench.path(&format!("queue.db{suffix}"));
        fs::rename(&file, bench.path("aside")).unwrap();
        let sent = bench.simulator.commits().len();
        let (code, lines) = daemon.end().await;
        assert_eq!(code, Some(76), "{suffix}: {lines:?}");
        let last = lines.iter().rfind(|line| event_of(line) == "stopped").expect("it says why it stopped");
        assert!(last["message"].as_str().unwrap().contains(file.to_str().unwrap()), "{last}");
        // One may have passed the check just before the file was moved.
        assert!(bench.simulator.commits().len() <= sent + 2, "{sent}, then {}", bench.simulator.commits().len());
    }
}
