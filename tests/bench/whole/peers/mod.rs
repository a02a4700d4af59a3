//! Side by side: other queues with the same work, measured in the same way and in the same run.
//!
//! `tests/bench/peers/install` installs them; `tests/bench/peers/README.md` describes each and how it is tuned. `BENCH_PEERS`
//! selects some (`certcommit,apalis,celery,huey,sdk`), `BENCH_PEER_ROWS` (200,2000) and `BENCH_PEER_LATENCIES` (50,300, in ms)
//! set the work, `BENCH_PEER_PICKUPS` (25) how many rows are enqueued one by one. 2,000 rows take 100 s for each peer and
//! latency; everything takes 45 minutes.

mod feeder;
mod killing;
mod peer;
mod picking_up;
mod server;
mod site;
mod syncs;
mod table;
mod worker;
mod working;

use std::str::FromStr;
use std::time::Duration;

use super::report::Figure;
use super::support::bench_size;
use peer::Peer;
use table::Measured;
use working::Work;

/// The cap that every peer is configured for, and that the server enforces.
const CAP: u32 = 20;

pub(crate) async fn measure() -> Vec<Figure> {
    if !peer::installed() {
        return vec![Figure::without_target("peers", "skipped: run tests/bench/peers/install first")];
    }
    let peers: Vec<Peer> = listed("PEERS", "certcommit,apalis,celery,huey,sdk");
    let rows: Vec<usize> = listed("PEER_ROWS", "200,2000");
    let latencies: Vec<u64> = listed("PEER_LATENCIES", "50,300");
    let pickups: u32 = bench_size("PEER_PICKUPS", 25);
    let mut all = Vec::new();
    for peer in peers {
        eprintln!("measuring: peers, {}", peer.name());
        let measured = measured(peer, &rows, &latencies, pickups).await;
        eprintln!("{}", table::of(std::slice::from_ref(&measured)));
        all.push(measured);
    }
    println!("{}\n", table::of(&all));
    figures(&all)
}

async fn measured(peer: Peer, rows: &[usize], latencies: &[u64], pickups: u32) -> Measured {
    let mut works = Vec::new();
    for latency in latencies.iter().copied().map(Duration::from_millis) {
        for rows in rows.iter().copied() {
            let work = working::measure(peer, rows, latency).await;
            eprintln!("{work:?}");
            works.push(work);
        }
    }
    Measured {
        peer,
        about: peer::about(peer).await,
        works,
        pickup: picking_up::measure(peer, pickups).await,
        kill: killing::measure(peer).await,
        syncs: syncs::measure(peer).await,
    }
}

/// With a longer delay of the simulator, a run is invalid.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// Whether the run is valid, and whether certcommit keeps its promises. The table has the rest.
fn figures(all: &[Measured]) -> Vec<Figure> {
    let works = all.iter().flat_map(|one| one.works.iter().map(|work| work.held_up));
    let others = all.iter().flat_map(|one| [one.pickup.held_up, one.kill.held_up]);
    let held_up = works.chain(others).max().unwrap_or_default();
    let mut figures = vec![Figure::with_target(
        "peers: longest delay of the simulator; if missed, measure again",
        format!("{:.1} ms", held_up.as_secs_f64() * 1000.0),
        "at most 100 ms",
        held_up <= MAX_DELAY,
    )];
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.peer == Peer::Certcommit);
    figures.extend(own.into_iter().flat_map(|own| promises(own, &others)));
    figures
}

fn promises(own: &Measured, others: &[&Measured]) -> Vec<Figure> {
    let worst = own.works.iter().map(|work| work.worst_second).fold(own.kill.worst_second, usize::max);
    let (lost, repeated) = (own.kill.lost, own.kill.repeated);
    let is_cheapest = |(index, work): (usize, &Work)| others.iter().all(|other| work.cost < other.works[index].cost);
    let cheapest = own.works.iter().enumerate().filter(|work| is_cheapest(*work)).count();
    vec![
        Figure::with_target(
            "peers: runs in which certcommit takes the least CPU time",
            format!("{cheapest} of {}", own.works.len()),
            "all",
            cheapest == own.works.len(),
        ),
        Figure::with_target("peers: worst sliding second of certcommit", worst.to_string(), "at most 20", worst <= 20),
        Figure::with_target(
            "peers: lost and repeated by certcommit after kill -9",
            format!("{lost} and {repeated}"),
            "0 and 0",
            lost == 0 && repeated == 0,
        ),
    ]
}

fn listed<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let list: String = bench_size(name, default.to_owned());
    list.split(',').map(|item| item.parse().unwrap_or_else(|_| panic!("BENCH_{name}: unknown item {item}"))).collect()
}
