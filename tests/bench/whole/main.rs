//! Benchmarks of the program as a whole: how much of the limit it uses, how soon it wakes up, what it costs, and how it handles
//! long queues.
//!
//! `tests/bench/run` measures everything and prints one table; `tests/bench/run SECTION…` measures some of it. The machine
//! should be idle otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that can't be made ends with its reason")]

mod arrivals;
mod bare_loop;
mod campaign;
mod cost;
mod headroom;
mod keep_awake;
mod lower_limit;
mod peers;
mod recovery;
mod report;
mod restarts;
mod scale;
mod starting;
#[path = "../../support/mod.rs"]
mod support;
mod use_of_limit;
mod waking;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use report::Figure;

type Measuring = Pin<Box<dyn Future<Output = Vec<Figure>>>>;

/// A section: its name, and its measurement.
type Section = (&'static str, fn() -> Measuring);

/// The sections, in order.
const SECTIONS: [Section; 11] = [
    ("limit", || Box::pin(use_of_limit::measure())),
    ("restarts", || Box::pin(restarts::measure())),
    ("recovery", || Box::pin(recovery::measure())),
    ("lower-limit", || Box::pin(lower_limit::measure())),
    ("waking", || Box::pin(waking::measure())),
    ("cost", || Box::pin(cost::measure())),
    ("starting", || Box::pin(starting::measure())),
    ("scale", || Box::pin(scale::measure())),
    ("campaign", || Box::pin(campaign::measure())),
    ("headroom", || Box::pin(headroom::measure())),
    ("peers", || Box::pin(peers::measure())),
];

#[tokio::main]
async fn main() -> ExitCode {
    // Cargo passes --bench.
    let selected: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = selected.iter().find(|name| !SECTIONS.iter().any(|(known, _)| known == name)) {
        eprintln!("unknown section {unknown}; expected one of: {}", SECTIONS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    let mut figures = Vec::new();
    for (name, measure) in SECTIONS {
        if selected.is_empty() || selected.iter().any(|selected| selected == name) {
            eprintln!("measuring: {name}");
            figures.extend(measure().await);
        }
    }
    println!("{}", report::table(&figures));
    if figures.iter().all(|figure| figure.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
