//! A Markdown table of all peers: a column for each, a row for each figure.

use std::time::Duration;

use certcommit::clock;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::killing::Kill;
use super::peer::{About, Peer};
use super::picking_up::PickUp;
use super::working::Work;

/// All results of one peer.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) peer: Peer,
    pub(super) about: About,
    pub(super) works: Vec<Work>,
    pub(super) pickup: PickUp,
    pub(super) kill: Kill,
    /// Syncs per submission.
    pub(super) syncs: f64,
}

/// The table. Costs are compared with those of the first peer.
pub(super) fn of(all: &[Measured]) -> String {
    let Some(first) = all.first() else { return String::new() };
    let mut table = Table::new();
    let versions = all.iter().map(|measured| measured.about.version.clone());
    table.load_style(ASCII_MARKDOWN).set_header(std::iter::once(today()).chain(versions));
    let mut line = |what: String, cell: &dyn Fn(&Measured) -> String| {
        table.add_row(std::iter::once(what).chain(all.iter().map(cell)));
    };
    for (index, work) in first.works.iter().enumerate() {
        let work = format!("{} certificates at {} ms: ", work.rows, work.latency.as_millis());
        let of = |measured: &Measured, cell: &dyn Fn(&Work) -> String| cell(&measured.works[index]);
        line(format!("{work}worst sliding second"), &|one| of(one, &|work| work.worst_second.to_string()));
        line(format!("{work}use of the limit"), &|one| of(one, &use_of_limit));
        line(format!("{work}throttled"), &|one| of(one, &|work| format!("{} of {}", work.throttled, work.requests)));
        line(format!("{work}longest delay of the simulator"), &|one| of(one, &|work| milliseconds(work.held_up)));
        line(format!("{work}CPU time per submission"), &|one| {
            of(one, &|work| with_ratio(work.cost, first.works[index].cost, milliseconds(work.cost)))
        });
    }
    line("memory".to_owned(), &|one| {
        let (own, other) = (memory(first), memory(one));
        with_ratio(Duration::from_millis(other), Duration::from_millis(own), format!("{:.1} MB", kilobytes(other)))
    });
    line("pick-up, median and longest".to_owned(), &|one| {
        format!("{}, {}", milliseconds(one.pickup.median), milliseconds(one.pickup.longest))
    });
    line("kill -9: taken, no result yet".to_owned(), &|one| one.kill.taken.to_string());
    line("kill -9: lost".to_owned(), &|one| one.kill.lost.to_string());
    line("kill -9: committed again".to_owned(), &|one| one.kill.repeated.to_string());
    line("kill -9: without a result forever".to_owned(), &|one| one.kill.unsettled.to_string());
    line("kill -9: worst sliding second".to_owned(), &|one| one.kill.worst_second.to_string());
    line("kill -9: time to recover".to_owned(), &|one| recovery(&one.kill));
    line("power loss, as configured".to_owned(), &|one| power_loss(&one.about).to_owned());
    line("journal_mode, synchronous".to_owned(), &|one| settings(&one.about));
    line("syncs per submission".to_owned(), &|one| format!("{:.2}", one.syncs));
    table.to_string()
}

fn today() -> String {
    clock::now().unix.to_string().chars().take_while(|letter| *letter != 'T').collect()
}

fn use_of_limit(work: &Work) -> String {
    let left = if work.left > 0 { format!(", {} never sent", work.left) } else { String::new() };
    format!("{:.1} %{left}", work.use_of_cap * 100.0)
}

/// A cost, and its ratio to the first peer's.
fn with_ratio(cost: Duration, first: Duration, text: String) -> String {
    if cost == first || first.is_zero() { text } else { format!("{text} ({:.1}x)", cost.div_duration_f64(first)) }
}

fn milliseconds(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 100.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

/// In kB.
fn memory(measured: &Measured) -> u64 {
    measured.works.iter().map(|work| work.memory).max().unwrap_or_default()
}

fn kilobytes(memory: u64) -> f64 {
    f64::from(u32::try_from(memory).unwrap()) / 1024.0
}

fn recovery(kill: &Kill) -> String {
    match kill.recovery {
        Some(_) if kill.taken == 0 => "nothing to recover".to_owned(),
        Some(after) => format!("{:.1} s", after.as_secs_f64()),
        None => "never".to_owned(),
    }
}

fn power_loss(about: &About) -> &'static str {
    match (about.journal.as_str(), about.synchronous) {
        (_, 0) => "may corrupt",
        ("wal", 1) => "may lose the latest",
        (_, 1) => "may corrupt, rarely",
        (_, _) => "safe",
    }
}

fn settings(about: &About) -> String {
    let synchronous = ["OFF", "NORMAL", "FULL", "EXTRA"].get(usize::from(about.synchronous)).copied();
    format!("{}, {}", about.journal, synchronous.unwrap_or("unknown"))
}
