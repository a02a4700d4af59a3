//! A campaign of a million orders: how long its table takes to enqueue; the pace of the commits while the daemon follows all of them and another process writes
//! reports, compared with the pace alone; and time, memory and size of the reports.
//!
//! `BENCH_CAMPAIGN_ROWS` (1,000,000) sets the size of the campaign, `BENCH_CAMPAIGN_SECONDS` (60) how long each pace is measured.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use certcommit::clock;
use certcommit::simulator::{Options, rate, worst_second};
use tokio::time::{Instant, sleep};

use super::report::{Figure, percent};
use super::scale::filling::fill_with_orders;
use super::support::{Bench, bench_size, peak_memory_kb, text, within};

const PER_SECOND: usize = 20;
const FORMATS: [&str; 3] = ["csv", "jsonl", "html"];
const PATIENCE: Duration = Duration::from_secs(900);
/// How often the memory of a report is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A report that was written.
struct Written {
    format: &'static str,
    took: Duration,
    peak_kb: u64,
    bytes: u64,
}

pub(crate) async fn measure() -> Vec<Figure> {
    let rows: i64 = bench_size("CAMPAIGN_ROWS", 1_000_000);
    let mut figures = enqueueing(rows).await;
    let options =
        Options { latency: Duration::from_millis(50), rate_limit: None, read_rate_limit: None, ..Options::default() };
    let mut bench = Bench::to_measure_at(options, &[]).await;
    fill_with_orders(&bench, rows).await;
    let orders: Vec<(String, String)> = orders(&bench).await;
    orders.iter().for_each(|(id, order)| bench.simulator.set_certificate(id, 0, Some(order)));
    let seconds = bench_size("CAMPAIGN_SECONDS", 60);
    bench.enqueue(&(0..PER_SECOND * seconds * 3).map(|number| format!("new{number:07}")).collect::<Vec<_>>()).await;

    let alone = pace_for(&bench, seconds, None).await.pace;
    bench.set("follow.interval", "1s");
    let beside = pace_for(&bench, seconds, Some(&FORMATS)).await;
    let looks = bench.simulator.lists().len();
    let known: i64 = bench.value("SELECT count(*) FROM followed WHERE read_at IS NOT NULL").await;

    let ratio = beside.pace / alone;
    let worst = worst_second(&bench.simulator.commit_times());
    figures.extend([
        Figure::without_target(format!("{rows} orders: commits a second, alone"), format!("{alone:.2}")),
        Figure::with_target(
            "the same, while all of them are followed and reports are written, relative to alone",
            percent(ratio),
            "at least 99 %",
            ratio >= 0.99,
        ),
        Figure::with_target("worst sliding second over both", worst.to_string(), "at most 20", worst <= PER_SECOND),
        Figure::without_target(
            "orders that were looked at meanwhile, and with how many requests",
            format!("{known}, {looks}"),
        ),
        Figure::with_target(
            "peak memory of the daemon that follows them",
            megabytes(beside.peak_kb * 1000),
            "at most 20 MB",
            beside.peak_kb <= 20_000,
        ),
    ]);
    figures.extend(beside.reports.iter().map(|Written { format, took, peak_kb, bytes }| {
        let (memory, size) = (megabytes(peak_kb * 1000), megabytes(*bytes));
        let figure = format!("{:.1} s, {memory}, a file of {size}", took.as_secs_f64());
        Figure::without_target(
            format!("certcommit report --format {format} meanwhile: time, peak memory, size"),
            figure,
        )
    }));
    figures
}

/// Every certificate that has an order, with it.
async fn orders(bench: &Bench) -> Vec<(String, String)> {
    let mut connection = bench.connect().await;
    let orders = sqlx::query_as("SELECT certificate_id, order_id FROM submissions WHERE state = 'submitted'");
    orders.fetch_all(&mut connection).await.unwrap()
}

/// What was measured while a daemon ran.
struct Run {
    /// Commits a second.
    pace: f64,
    peak_kb: u64,
    reports: Vec<Written>,
}

/// Runs a daemon at full pace for so long, and until each of the reports has been written.
async fn pace_for(bench: &Bench, seconds: usize, formats: Option<&[&'static str]>) -> Run {
    let before = bench.simulator.commits().len();
    let daemon = bench.spawn(&["run"]);
    within(PATIENCE, "the first commits", bench.simulator.until_commits(before + PER_SECOND)).await;
    let from = bench.simulator.commits().len();
    let mut reports = Vec::new();
    for format in formats.unwrap_or_default() {
        reports.push(report(bench, format).await);
    }
    within(PATIENCE, "commits", bench.simulator.until_commits(from + PER_SECOND * seconds)).await;
    let times: Vec<Instant> = bench.simulator.commit_times().split_off(from);
    let peak_kb = daemon.peak_memory_kb();
    daemon.signal("TERM");
    let (code, _) = daemon.end().await;
    assert_eq!(code, Some(0));
    Run { pace: rate(&times), peak_kb, reports }
}

/// Writes a report of everything.
async fn report(bench: &Bench, format: &'static str) -> Written {
    let file = bench.path(&format!("report.{format}"));
    let (took, peak_kb) = finished(bench.command(&["report", "--format", format, "-o", &text(&file)])).await;
    Written { format, took, peak_kb, bytes: file.metadata().unwrap().len() }
}

/// Enqueues a table of so many certificates.
async fn enqueueing(rows: i64) -> Vec<Figure> {
    let bench = Bench::to_measure_at(Options::default(), &[]).await;
    let file = bench.path("certificates.csv");
    let mut table = BufWriter::new(File::create(&file).unwrap());
    write!(table, "\u{feff}certificate_id,verify_type,priority,due_at,reference\r\n").unwrap();
    (0..rows).for_each(|row| write!(table, "cert{row:08},DNS,1,2099-12-01T00:00:00Z,\"spring, late\"\r\n").unwrap());
    table.into_inner().unwrap().sync_all().unwrap();
    let mut figures = Vec::new();
    for options in [&["--dry-run"][..], &[]] {
        let mut command = bench.command(&["enqueue", "--file", &text(&file)]);
        command.args(options);
        let (took, peak_kb) = finished(command).await;
        let command = ["certcommit enqueue --file FILE", &options.concat()].join(" ");
        let what = format!("{rows} lines of a table: {}: time, peak memory", command.trim_end());
        figures
            .push(Figure::without_target(what, format!("{:.1} s, {}", took.as_secs_f64(), megabytes(peak_kb * 1000))));
    }
    let enqueued: i64 = bench.value("SELECT count(*) FROM submissions").await;
    assert_eq!(enqueued, rows);
    figures
}

/// Runs a command to its end. Returns the time that it took, and its peak memory in kilobytes.
async fn finished(mut command: Command) -> (Duration, u64) {
    let since = clock::now().instant;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut peak_kb = 0;
    let status = loop {
        peak_kb = peak_memory_kb(child.id()).unwrap_or_default().max(peak_kb);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => sleep(LOOK_EVERY).await,
        }
    };
    assert!(status.success(), "{status}");
    (clock::now().instant - since, peak_kb)
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a size of megabytes")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}
