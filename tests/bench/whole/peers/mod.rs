//! Side by side: other queues on the same work, measured like certcommit and in the same run.
//!
//! `tests/bench/peers/install` installs them; `tests/bench/peers/README.md` tells what each is and how it is tuned.
//! `BENCH_PEERS` names some (`certcommit,apalis,celery,huey,sdk`), `BENCH_PEER_ROWS` (200,2000) and
//! `BENCH_PEER_LATENCIES` (50,300, in ms) say which work, `BENCH_PEER_PICKUPS` (25) how many are enqueued one by one.
//! A work of 2,000 takes 100 s for each peer and latency. All of it takes half an hour.

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

/// The cap that all are told to keep, and that the server holds them to.
const CAP: u32 = 20;

pub(crate) async fn measure() -> Vec<Figure> {
    if !peer::installed() {
        return vec![Figure::told("side by side", "left out: tests/bench/peers/install was not run")];
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

/// The longest hold-up of the stand-in with which a run is worth anything.
const MOST_HELD_UP: Duration = Duration::from_millis(100);

/// Whether the run is good, and what certcommit itself promises; what the others do is told in the table.
fn figures(all: &[Measured]) -> Vec<Figure> {
    let works = all.iter().flat_map(|one| one.works.iter().map(|work| work.held_up));
    let others = all.iter().flat_map(|one| [one.pickup.held_up, one.kill.held_up]);
    let held_up = works.chain(others).max().unwrap_or_default();
    let mut figures = vec![Figure::wanted(
        "side by side: longest that the stand-in was held up; if missed, measure again",
        format!("{:.1} ms", held_up.as_secs_f64() * 1000.0),
        "at most 100 ms",
        held_up <= MOST_HELD_UP,
    )];
    figures.extend(all.iter().find(|one| one.peer == Peer::Certcommit).into_iter().flat_map(promises));
    figures
}

fn promises(own: &Measured) -> Vec<Figure> {
    let worst = own.works.iter().map(|work| work.worst_second).fold(own.kill.worst_second, usize::max);
    let (lost, repeated) = (own.kill.lost, own.kill.repeated);
    vec![
        Figure::wanted("side by side: worst second of certcommit", worst.to_string(), "at most 20", worst <= 20),
        Figure::wanted(
            "side by side: lost and repeated by certcommit after kill -9",
            format!("{lost} and {repeated}"),
            "0 and 0",
            lost == 0 && repeated == 0,
        ),
    ]
}

fn listed<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let list: String = bench_size(name, default.to_owned());
    list.split(',').map(|item| item.parse().unwrap_or_else(|_| panic!("BENCH_{name}: what is {item}?"))).collect()
}
