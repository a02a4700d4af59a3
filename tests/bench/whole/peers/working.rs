//! The throughput: all certificates are enqueued before the worker starts.

use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Arrival, rate, worst_second};

use super::CAP;
use super::feeder::Feeder;
use super::peer::{Peer, certificate};
use super::site::Site;
use super::worker::Worker;

/// After this long without an arrival, the work is over.
const QUIET: Duration = Duration::from_secs(30);
/// How long writing the last results may take.
const WRITING_BACK: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The result.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) rows: usize,
    pub(super) latency: Duration,
    /// The most arrivals in any second.
    pub(super) worst_second: usize,
    /// Accepted commits as a ratio of those that the limit allows, from 0 to 1.
    pub(super) use_of_cap: f64,
    pub(super) requests: usize,
    /// Requests refused for their rate.
    pub(super) throttled: usize,
    /// Certificates without an order in the end.
    pub(super) left: usize,
    /// CPU time per submission, after warming up.
    pub(super) cost: Duration,
    /// Peak memory, in kB.
    pub(super) memory: u64,
    /// The longest delay of the simulator.
    pub(super) held_up: Duration,
}

pub(super) async fn measure(peer: Peer, rows: usize, latency: Duration) -> Work {
    let site = Site::new(peer, latency).await;
    Feeder::start(peer, &site).enqueue(&(1..=rows).map(certificate).collect::<Vec<_>>());
    let simulator = &site.server.simulator;
    let worker = Worker::start(peer.worker(&site), &site);
    site.server.until_orders(1, QUIET).await;
    let (began, before) = (worker.processor_time(), simulator.orders());
    site.server.until_orders(rows, QUIET).await;
    until_written_back(peer, &site, simulator.orders()).await;
    let cost = worker.processor_time() - began;
    let memory = worker.memory();
    worker.kill();

    let arrivals = simulator.commits();
    let all: Vec<_> = arrivals.iter().map(|arrival| arrival.at).collect();
    let granted: Vec<_> = arrivals.iter().filter(|arrival| !is_throttled(arrival)).map(|arrival| arrival.at).collect();
    let worked_on = u32::try_from(simulator.orders() - before).unwrap().max(1);
    Work {
        rows,
        latency,
        worst_second: worst_second(&all),
        use_of_cap: rate(&granted) / f64::from(CAP),
        requests: all.len(),
        throttled: all.len() - granted.len(),
        left: rows - simulator.orders(),
        cost: cost / worked_on,
        memory,
        held_up: site.server.longest_hold_up(),
    }
}

fn is_throttled(arrival: &Arrival) -> bool {
    arrival.answer.starts_with("RequestLimitExceeded")
}

async fn until_written_back(peer: Peer, site: &Site, orders: usize) {
    let since = clock::now().instant;
    while peer.settled(site).await.len() < orders && clock::now().instant - since < WRITING_BACK {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
