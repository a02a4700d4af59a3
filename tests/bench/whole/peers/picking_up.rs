//! How soon a worker that has nothing to do picks up what an outside process enqueues.

use std::time::Duration;

use certcommit::clock;

use super::super::report::percentile;
use super::feeder::Feeder;
use super::peer::{Peer, certificate};
use super::site::Site;
use super::worker::Worker;

const LATENCY: Duration = Duration::from_millis(50);
/// What isn't picked up after this long is told as this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a worker does at its start is over after this.
const SETTLING: Duration = Duration::from_secs(3);

/// From the return of what enqueues to the arrival at the server.
#[derive(Debug)]
pub(super) struct PickUp {
    pub(super) median: Duration,
    pub(super) longest: Duration,
    /// How long the stand-in was held up at the worst.
    pub(super) held_up: Duration,
}

pub(super) async fn measure(peer: Peer, times: u32) -> PickUp {
    let site = Site::new(peer, LATENCY).await;
    let mut feeder = Feeder::start(peer, &site);
    feeder.enqueue(&[certificate(0)]);
    let _worker = Worker::start(peer.worker(&site), &site);
    site.server.until_orders(1, PATIENCE).await;
    tokio::time::sleep(SETTLING).await;
    let mut waits = Vec::new();
    for id in (1..).map(certificate).take(usize::try_from(times).unwrap()) {
        // Not in step with whoever polls.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(400..1_400))).await;
        feeder.enqueue(std::slice::from_ref(&id));
        let enqueued = clock::now().instant;
        let arrival = site.server.simulator.until(|simulator| simulator.orders_placed(&id) > 0);
        tokio::time::timeout(PATIENCE, arrival).await.unwrap_or_default();
        let arrived = site.server.simulator.commits_of(&id).first().map(|arrival| arrival.at);
        // It may arrive before we hear that it's enqueued.
        waits.push(arrived.map_or(PATIENCE, |arrived| arrived.saturating_duration_since(enqueued)));
    }
    PickUp {
        median: percentile(&waits, 0.5).unwrap(),
        longest: percentile(&waits, 1.0).unwrap(),
        held_up: site.server.longest_hold_up(),
    }
}
