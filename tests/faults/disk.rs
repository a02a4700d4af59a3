//! The disk is full, read-only or broken: sending stops, results are kept in hand and written later.

use std::time::Duration;

use certcommit::simulator::Options;

use crate::support::{Bench, Injection, ids, in_time};

async fn bench() -> Bench {
    let options = Options { latency: Duration::from_millis(300), rate_limit: None, ..Options::default() };
    Bench::with(options, &[("rate.guard", "150ms")]).await
}

#[tokio::test]
async fn eio() {
    let bench = bench().await;
    let ids = ids(60);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(4)).await;
    let fault = Injection::begin(&daemon, "fsync,fdatasync:error=EIO", &[&bench.path("queue.db-wal")]).await;
    println!("{}", daemon.until_event("database_unavailable").await);
    fault.end();
    println!("{}", daemon.until_event("resumed").await);
    in_time("the other orders", bench.simulator.until_orders(60)).await;
    daemon.signal("TERM");
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(0));
}
