//! The status can be watched, on a terminal and elsewhere, whatever happens to the queue in between.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Bench, Process, in_time};

/// How often a test looks at a file.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs a command on a small terminal; what that is sent is in the file `seen`, and who runs in `pid`.
const ON_A_TERMINAL: &str = "exec script --quiet --return --flush \
    --command \"stty rows 6 cols 60; echo \\$\\$ >pid; exec $0 $*\" seen";

#[tokio::test]
async fn a_program_that_watches_gets_an_object_a_second_and_goes_on_while_the_queue_is_away() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    let to_stderr = ["sh", "-c", "exec \"$0\" \"$@\" >&2"];
    let mut watcher = Process::spawn(bench.command_under(&to_stderr, &["status", "--watch", "--json"]));
    watcher.until_line("one pending", |line| line["counts"]["pending"] == 1).await;
    fs::rename(bench.database(), bench.path("aside")).unwrap();
    let line = watcher.until_line("the failure", |line| line["error"].is_string()).await;
    assert!(line["error"].as_str().unwrap().contains("queue.db"), "{line}");
    fs::rename(bench.path("aside"), bench.database()).unwrap();
    bench.enqueue(&["abcb1235"]).await;
    watcher.until_line("two pending", |line| line["counts"]["pending"] == 2).await;
    let mut other = bench.connect().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    watcher.until_line("the same while it is locked", |line| line["counts"]["pending"] == 2).await;
    watcher.signal("INT");
    assert_eq!(watcher.end().await.0, Some(0), "that is how one ends it");
}

#[tokio::test]
async fn a_terminal_is_renewed_in_place_and_given_back_as_it_was() {
    let bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    let mut script = bench.command_under(&["sh", "-c", ON_A_TERMINAL], &["status", "--watch"]);
    script.current_dir(bench.path("")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut script = script.spawn().unwrap();

    let seen =
        || fs::read(bench.path("seen")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    in_time("two frames", async {
        while seen().matches("\u{1b}[H").count() < 2 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
    let pid = fs::read_to_string(bench.path("pid")).unwrap();
    assert!(Command::new("kill").args(["-s", "INT", pid.trim()]).status().unwrap().success());
    assert!(script.wait().unwrap().success());

    let seen = seen();
    let (before, shown) = seen.split_once("\u{1b}[?1049h\u{1b}[?25l").expect("it begins on the other screen");
    let (shown, after) = shown.split_once("\u{1b}[?25h\u{1b}[?1049l").expect("it gives the first one back");
    assert!(!before.contains("NOT RUNNING") && !after.contains("NOT RUNNING"), "{seen:?}");
    for frame in shown.split("\u{1b}[H").skip(1) {
        assert!(frame.contains("NOT RUNNING") && frame.contains("1 waiting to be submitted"), "{frame:?}");
        assert!(
            frame.contains("more lines") && frame.matches("\r\n").count() < 6,
            "it is cut to the height: {frame:?}"
        );
        assert!(frame.ends_with("\u{1b}[J"), "{frame:?}");
    }
}
