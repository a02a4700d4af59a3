//! `certcommit status --watch` keeps running whatever happens to the queue.

use std::fs;

use crate::support::{Bench, Process};

#[tokio::test]
async fn watching_prints_an_object_every_second_even_while_the_queue_is_missing() {
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
    watcher.until_line("the same counts while it is locked", |line| line["counts"]["pending"] == 2).await;
    watcher.signal("INT");
    assert_eq!(watcher.end().await.0, Some(0), "Ctrl-C ends it successfully");
}
