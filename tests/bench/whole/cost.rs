//! What a submission costs at full pace: CPU time, memory and syncs; and the pace on a disk whose syncs take 60 ms.
//!
//! The API replies after 300 ms. Four runs, one after the other, each of `BENCH_COST_SECONDS` (60) after warming up. Syncs are
//! counted and delayed by `strace`, which slows everything down, so they have runs of their own. For comparison, a bare loop is
//! measured before and after, and both again while no CPU sleeps: this shows how fast the machine is at the moment.

use std::time::Duration;

use certcommit::simulator::Options;

use super::arrivals::worst_sliding_second;
use super::bare_loop;
use super::keep_awake::KeptAwake;
use super::report::Figure;
use super::support::{Bench, Process, bench_size, ids, text, within};

const PER_SECOND: usize = 20;
/// Commits until the daemon's pace is even.
const WARM_UP: usize = 3 * PER_SECOND;
/// Rows left over, so that the end of the queue isn't measured.
const LEFT_OVER: usize = 3 * PER_SECOND;

pub(crate) async fn measure() -> Vec<Figure> {
    let mut figures = processor_and_memory().await;
    figures.push(syncs().await);
    figures.extend(slow_syncs().await);
    figures
}

/// A daemon at full pace, and how many of its commits are measured.
struct AtWork {
    bench: Bench,
    measured: usize,
}

impl AtWork {
    async fn new() -> Self {
        let (latency, jitter) = (Duration::from_millis(300), Duration::from_millis(20));
        let options = Options { latency, jitter, rate_limit: None, ..Options::default() };
        let bench = Bench::to_measure_at(options, &[]).await;
        let measured = PER_SECOND * bench_size("COST_SECONDS", 60);
        bench.enqueue(&ids(WARM_UP + measured + LEFT_OVER)).await;
        Self { bench, measured }
    }

    /// Waits until the daemon's pace is even.
    async fn warmed_up(&self) {
        within(Duration::from_secs(60), "an even pace", self.bench.simulator.until_commits(WARM_UP)).await;
    }

    /// Waits until the measured commits have arrived.
    async fn done(&self) {
        let patience = Duration::from_secs(60) + Duration::from_millis(200) * u32::try_from(self.measured).unwrap();
        within(patience, "all commits", self.bench.simulator.until_commits(WARM_UP + self.measured)).await;
    }

    /// Starts a daemon under `strace`, which writes its syncs to a file and applies these options. The daemon is the started
    /// process, and `strace` ends with it.
    fn traced(&self, options: &[&str]) -> Process {
        let file = text(&self.bench.path("trace"));
        let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync", "-o", &file];
        Process::spawn(self.bench.command_under(&[&strace, options].concat(), &["run"]))
    }

    /// Counts the lines of the trace that meet the condition.
    fn traced_lines(&self, condition: impl Fn(&str) -> bool) -> usize {
        std::fs::read_to_string(self.bench.path("trace")).unwrap().lines().filter(|line| condition(line)).count()
    }

    fn syncs_so_far(&self) -> usize {
        self.traced_lines(|line| line.contains("fsync(") || line.contains("fdatasync("))
    }
}

/// The CPU time of a submission in milliseconds, and the peak memory in MB.
async fn spent_and_memory() -> (f64, f64) {
    let work = AtWork::new().await;
    let daemon = work.bench.spawn(&["run"]);
    work.warmed_up().await;
    let before = daemon.processor_time();
    work.done().await;
    let spent = (daemon.processor_time() - before).as_secs_f64() * 1000.0 / as_f64(work.measured);
    let memory = as_f64(usize::try_from(daemon.peak_memory_kb()).unwrap()) * 1024.0 / 1e6;
    daemon.kill();
    (spent, memory)
}

async fn processor_and_memory() -> Vec<Figure> {
    let bare_before = bare_loop::processor_time_each();
    let (spent, memory) = spent_and_memory().await;
    let bare = (bare_before + bare_loop::processor_time_each()).as_secs_f64() * 1000.0 / 2.0;
    let awake = KeptAwake::begin();
    let (spent_awake, _) = spent_and_memory().await;
    let bare_awake = bare_loop::processor_time_each().as_secs_f64() * 1000.0;
    drop(awake);
    vec![
        Figure::without_target("CPU time per submission, at 20/s", format!("{spent:.3} ms")),
        Figure::without_target("CPU time of a bare loop of the same system calls", format!("{bare:.3} ms")),
        Figure::without_target("ratio of the two", format!("{:.1} times", spent / bare)),
        Figure::without_target("both, with the CPUs kept awake", format!("{spent_awake:.3} ms, {bare_awake:.3} ms")),
        Figure::with_target("peak memory, at 20/s", format!("{memory:.1} MB"), "at most 15 MB", memory <= 15.0),
    ]
}

async fn syncs() -> Figure {
    let work = AtWork::new().await;
    let _daemon = work.traced(&[]);
    work.warmed_up().await;
    let before = work.syncs_so_far();
    work.done().await;
    let each = as_f64(work.syncs_so_far() - before) / as_f64(work.measured);
    // Zero would mean that the trace wasn't written.
    let met = each > 0.0 && each <= 0.3;
    Figure::with_target("syncs per submission, at 20/s", format!("{each:.2}"), "at most 0.3", met)
}

async fn slow_syncs() -> Vec<Figure> {
    let work = AtWork::new().await;
    let _daemon = work.traced(&["-e", "inject=fsync,fdatasync:delay_exit=60ms"]);
    work.warmed_up().await;
    work.done().await;
    assert!(work.traced_lines(|line| line.contains("(DELAYED)")) > 0, "no sync was delayed");
    let times = &work.bench.simulator.commit_times()[WARM_UP..];
    let rate = certcommit::simulator::rate(times);
    let situation = "on a disk whose syncs take 60 ms";
    vec![
        Figure::with_target(
            format!("submissions per second, {situation}"),
            format!("{rate:.2}"),
            "at least 18.5",
            rate >= 18.5,
        ),
        worst_sliding_second(situation, times),
    ]
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
