//! `certcommit status --watch` on a terminal. Needs `script`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Bench, in_time, signals};

/// How often a test polls a file.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a command on a small terminal. Its output is in the file `seen`, its process ID in `pid`.
const ON_A_TERMINAL: &str = "exec script --quiet --return --flush \
    --command \"stty rows 6 cols 60; echo \\$\\$ >pid; exec $0 $*\" seen";

#[tokio::test]
async fn status_watch_updates_the_terminal_in_place_and_restores_it() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    let mut script = bench.command_under(&["sh", "-c", ON_A_TERMINAL], &["status", "--watch"]);
    script.current_dir(bench.path("")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut script = script.spawn().unwrap();

    let seen =
        || fs::read(bench.path("seen")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    in_time("two frames", async {
        while seen().matches("\u{1b}[H").count() < 2 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    let pid = fs::read_to_string(bench.path("pid")).unwrap();
    signals::send("INT", pid.trim().parse().unwrap());
    assert!(script.wait().unwrap().success());

    let seen = seen();
    let (before, rest) = seen.split_once("\u{1b}[?1049h\u{1b}[?25l").expect("it switches to the alternate screen");
    let (frames, after) = rest.split_once("\u{1b}[?25h\u{1b}[?1049l").expect("it switches back");
    assert!(!before.contains("NOT RUNNING") && !after.contains("NOT RUNNING"), "{seen:?}");
    for frame in frames.split("\u{1b}[H").skip(1) {
        assert!(frame.contains("NOT RUNNING") && frame.contains("1 waiting to be submitted"), "{frame:?}");
        assert!(
            frame.contains("more lines") && frame.matches("\r\n").count() < 6,
            "the frame is cut to the height: {frame:?}"
        );
        assert!(frame.ends_with("\u{1b}[J"), "{frame:?}");
    }
}
