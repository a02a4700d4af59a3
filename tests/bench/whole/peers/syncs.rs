//! How often a worker syncs, counted by `strace`: the effect of its durability settings.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::feeder::Feeder;
use super::peer::{Peer, certificate};
use super::site::Site;
use super::worker::Worker;

const ROWS: usize = 60;
const LATENCY: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(30);

/// Syncs per submission, after warming up.
pub(super) async fn measure(peer: Peer) -> f64 {
    let site = Site::new(peer, LATENCY).await;
    Feeder::start(peer, &site).enqueue(&(1..=ROWS).map(certificate).collect::<Vec<_>>());
    let trace = site.path("syncs");
    let worker = Worker::start(traced(&peer.worker(&site), &trace), &site);
    site.server.until_orders(1, QUIET).await;
    let (began, before) = (counted(&trace), site.server.simulator.orders());
    site.server.until_orders(ROWS, QUIET).await;
    let syncs = counted(&trace) - began;
    let worked_on = site.server.simulator.orders() - before;
    worker.kill();
    f64::from(syncs) / f64::from(u32::try_from(worked_on).unwrap().max(1))
}

fn traced(command: &Command, trace: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--quiet=all", "--seccomp-bpf", "--trace=fsync,fdatasync", "--output"]).arg(trace);
    strace.arg(command.get_program()).args(command.get_args());
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(command.get_current_dir().unwrap());
    strace
}

fn counted(trace: &Path) -> u32 {
    let calls = std::fs::read_to_string(trace).unwrap_or_default();
    u32::try_from(calls.lines().filter(|call| call.contains("sync(")).count()).unwrap()
}
