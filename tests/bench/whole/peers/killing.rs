//! `kill -9` in the middle of the work, and what a new worker makes of what the dead one had taken.

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
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What became of it.
#[derive(Debug)]
pub(super) struct Kill {
    /// Certificates that were never committed.
    pub(super) lost: usize,
    /// Certificates that were committed once more although their order stood.
    pub(super) repeated: usize,
    /// Certificates that the queue has no result of.
    pub(super) unsettled: usize,
    /// Certificates that the dead worker had taken, and had no result of.
    pub(super) taken: usize,
    /// The most arrivals in any second, before and after.
    pub(super) worst_second: usize,
    /// How long the stand-in was held up at the worst.
    pub(super) held_up: Duration,
    /// From the new start until each of these has a result; none if that never came.
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
        tokio::time::sleep(LOOK_INTERVAL).await;
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

/// What was taken out of the queue and has no result. Who leaves no mark has taken what has arrived.
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

/// How the stand-in calls a commit that it accepted.
const ORDER_PLACED: &str = "ok";
