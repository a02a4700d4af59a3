//! How soon an idle worker picks up what another process enqueues.

use std::time::Duration;

use certcommit::clock;

use super::super::report::percentile;
use super::feeder::Feeder;
use super::peer::{Peer, certificate};
use super::site::Site;
use super::worker::Worker;

const LATENCY: Duration = Duration::from_millis(50);
/// The longest wait; reported if nothing arrives.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this, the worker's start is over.
const SETTLING: Duration = Duration::from_secs(3);

/// From the end of enqueueing to the arrival at the server.
#[derive(Debug)]
pub(super) struct PickUp {
    pub(super) median: Duration,
    pub(super) longest: Duration,
    /// The longest delay of the simulator.
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
        // At a random phase, in case the worker polls.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(400..1_400))).await;
        feeder.enqueue(std::slice::from_ref(&id));
        let enqueued = clock::now().instant;
        let arrival = site.server.simulator.until(|simulator| simulator.orders_placed(&id) > 0);
        tokio::time::timeout(PATIENCE, arrival).await.unwrap_or_default();
        let arrived = site.server.simulator.commits_of(&id).first().map(|arrival| arrival.at);
        // It may arrive before enqueueing has returned.
        waits.push(arrived.map_or(PATIENCE, |arrived| arrived.saturating_duration_since(enqueued)));
    }
    PickUp {
        median: percentile(&waits, 0.5).unwrap(),
        longest: percentile(&waits, 1.0).unwrap(),
        held_up: site.server.longest_hold_up(),
    }
}
