//! `kill -9` during the work, and how a new worker handles what the dead one had taken.

use std::collections::HashSet;
use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Simulator, worst_second};

use super::feeder::Feeder;
use super::peer::{Peer, certificate};
use super::site::Site;
use super::worker::Worker;

const ROWS: usize = 200;
const LATENCY: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The result.
#[derive(Debug)]
pub(super) struct Kill {
    /// Certificates that were never committed.
    pub(super) lost: usize,
    /// Certificates that were committed again although their order had been placed.
    pub(super) repeated: usize,
    /// Certificates without a result in the queue.
    pub(super) unsettled: usize,
    /// Certificates that the dead worker had taken, without a result.
    pub(super) taken: usize,
    /// The most arrivals in any second, before and after the kill.
    pub(super) worst_second: usize,
    /// The longest delay of the simulator.
    pub(super) held_up: Duration,
    /// From the new start until each taken certificate has a result; `None` if that never happened.
    pub(super) recovery: Option<Duration>,
}

pub(super) async fn measure(peer: Peer) -> Kill {
    let site = Site::new(peer, LATENCY).await;
    let all: Vec<String> = (1..=ROWS).map(certificate).collect();
    Feeder::start(peer, &site).enqueue(&all);
    let worker = Worker::start(peer.worker(&site), &site);
    site.server.until_orders(ROWS / 2, QUIET).await;
    worker.kill();
    let taken = taken(peer, &site, &all).await;

    let restarted = clock::now().instant;
    let _worker = Worker::start(peer.worker(&site), &site);
    let mut recovery = None;
    let unsettled = loop {
        let settled = peer.settled(&site).await;
        let now = clock::now().instant;
        if recovery.is_none() && taken.is_subset(&settled) {
            recovery = Some(now - restarted);
        }
        let last = site.server.simulator.arrivals().last().map_or(restarted, |arrival| arrival.at.max(restarted));
        let unsettled = ROWS - settled.len();
        if unsettled == 0 || now - last > peer.patience() {
            break unsettled;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let simulator = &site.server.simulator;
    Kill {
        lost: all.iter().filter(|id| simulator.orders_placed(id) == 0).count(),
        repeated: all.iter().filter(|id| was_repeated(simulator, id)).count(),
        unsettled,
        taken: taken.len(),
        held_up: site.server.longest_hold_up(),
        worst_second: worst_second(&simulator.commit_times()),
        recovery,
    }
}

/// Certificates taken from the queue without a result. For a worker that doesn't mark them: those that arrived.
async fn taken(peer: Peer, site: &Site, all: &[String]) -> HashSet<String> {
    let (settled, waiting) = (peer.settled(site).await, peer.waiting(site).await);
    let arrived = |id: &String| site.server.simulator.orders_placed(id) > 0;
    all.iter().filter(|id| !settled.contains(*id) && (!waiting.contains(*id) || arrived(id))).cloned().collect()
}

/// Whether a commit arrived after the one that placed the order.
fn was_repeated(simulator: &Simulator, id: &str) -> bool {
    let commits = simulator.commits_of(id);
    let placed = commits.iter().position(|arrival| arrival.answer == ORDER_PLACED);
    placed.is_some_and(|placed| placed + 1 < commits.len())
}

/// The simulator's answer to an accepted commit.
const ORDER_PLACED: &str = "ok";
