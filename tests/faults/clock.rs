//! A wall clock that is wrong or is set while the daemon runs, and a suspended machine.

use std::time::Duration;

use certcommit::simulator::{Arrival, Fault, Options, worst_second};

use crate::support::{Bench, Process, event_of, got, ids, in_time, output, test_size};

const CAP: usize = 20;
/// More than the default, since tests share the machine and delays vary more.
const GUARD: (&str, &str) = ("rate.guard", "150ms");
const EXPIRED: &str = "AuthFailure.SignatureExpire";
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// Seconds from 1970 to 2100.
const YEAR_2100: i64 = 4_102_444_800;

/// A bench whose API has no rate limit.
async fn bench(settings: &[(&str, &str)]) -> Bench {
    let settings: Vec<_> = std::iter::once(GUARD).chain(settings.iter().copied()).collect();
    Bench::with(Options { rate_limit: None, ..Options::default() }, &settings).await
}

fn machine_seconds() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn until_all_submitted(bench: &Bench, daemon: &mut Process, ids: &[String]) {
    in_time("all orders", bench.simulator.until_orders(ids.len())).await;
    let mut left: usize = ids.len() - daemon.seen().iter().filter(|line| event_of(line) == "submitted").count();
    while left > 0 {
        daemon.until_event("submitted").await;
        left -= 1;
    }
}

async fn stop(daemon: Process) {
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

fn assert_the_limit_was_kept(bench: &Bench) {
    let worst = worst_second(&bench.simulator.commit_times());
    assert!(worst <= CAP, "{worst} in one second");
}

#[tokio::test]
async fn a_wrong_clock_at_the_start_pauses_the_queue_until_it_is_corrected() {
    let to_2100 = YEAR_2100 - machine_seconds();
    let to_1970 = 3 * HOUR - machine_seconds();
    let wrong = [
        (-10 * MINUTE - 2, "10 min ", " more; one of them is wrong"),
        (10 * MINUTE + 2, "10 min ", " less; one of them is wrong"),
        (to_1970, " d ", " more; one of them is wrong"),
        (to_2100, " d ", " less; one of them is wrong"),
    ];
    for (ahead, amount, direction) in wrong {
        let bench = bench(&[]).await;
        let clock = bench.fake_clock();
        clock.set(ahead);
        let ids = ids(12);
        bench.enqueue(&ids).await;
        // Rows that were enqueued under the right clock aren't due yet under one that is behind.
        bench.sql("UPDATE submissions SET due_at = 0").await;
        let mut daemon = Process::spawn(clock.wrap(bench.command(&["run"])));
        let line = daemon.until_event("paused").await;
        let why = line["why"].as_str().unwrap();
        assert!(why.contains(amount) && why.contains(direction) && why.contains(EXPIRED), "{why}");
        assert_eq!(line["cause"], "clock_skew");
        assert!(line["message"].as_str().unwrap().contains("chronyc tracking"), "{line}");
        in_time("a probe", bench.simulator.until_commits(3)).await;
        assert!(bench.rows().await.iter().all(|row| row.tries == 0), "no try is spent");
        clock.set(0);
        daemon.until_event("resumed").await;
        until_all_submitted(&bench, &mut daemon, &ids).await;
        stop(daemon).await;
        bench.assert_each_submitted_once(&ids).await;
        bench.assert_nothing_resent_blindly().await;
        assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    }
}

#[tokio::test]
async fn check_online_reports_how_far_the_clock_is_off() {
    let bench = bench(&[]).await;
    bench.simulator.set_certificate("certcommit-check", 13, None);
    let clock = bench.fake_clock();
    let checked = output(clock.wrap(bench.command(&["check", "--online"]))).await;
    let stdout = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && stdout.contains("agrees with the API's"), "{stdout}");
    clock.set(-10 * MINUTE);
    let checked = output(clock.wrap(bench.command(&["check", "--online"]))).await;
    let stdout = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(69));
    assert!(stdout.contains("10 min") || stdout.contains("9 min 59 s"), "{stdout}");
    assert!(stdout.contains("behind the API's. Compare both with a third clock"), "{stdout}");
}

#[tokio::test]
async fn a_clock_set_by_hours_while_sending_pauses_the_queue_and_the_limit_holds() {
    let bench = bench(&[]).await;
    let clock = bench.fake_clock();
    let ids = ids(90);
    bench.enqueue(&ids).await;
    let mut daemon = Process::spawn(clock.wrap(bench.command(&["run"])));
    for (sent, ahead, step) in [(15, 3 * HOUR, "set forward by 3 h"), (45, -3 * HOUR, "set back by ")] {
        in_time("some orders", bench.simulator.until_orders(sent)).await;
        clock.set(ahead);
        daemon.until_line(step, |line| line["message"].as_str().unwrap_or_default().contains(step)).await;
        let line = daemon.until_event("paused").await;
        assert_eq!(line["cause"], "clock_skew", "{line}");
        clock.set(0);
        daemon.until_event("resumed").await;
    }
    until_all_submitted(&bench, &mut daemon, &ids).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_the_limit_was_kept(&bench);
    let refused = bench.simulator.commits().iter().filter(|commit| got(EXPIRED)(commit)).count();
    assert!(refused < 30, "{refused} were refused for a wrong time: before the pause, and as probes");
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
}

/// The steps are too small to invalidate signatures, so the work continues.
#[tokio::test]
async fn settling_and_the_wait_before_a_resend_do_not_depend_on_the_wall_clock() {
    for (ahead, step) in [(4 * MINUTE, "set forward by 4 min"), (-4 * MINUTE, "set back by ")] {
        let bench = bench(&[
            ("verify.settle", "2s"),
            ("verify.resend_after", "5s"),
            ("retry.initial_backoff", "2s"),
            ("retry.max_backoff", "2s"),
        ])
        .await;
        let clock = bench.fake_clock();
        bench.simulator.script_commits("lost", vec![Fault::CutBefore]);
        bench.simulator.script_commits("busy", vec![Fault::Error("FailedOperation.NetworkError".to_owned())]);
        let ids = ["lost".to_owned(), "busy".to_owned()];
        bench.enqueue(&ids).await;
        let mut daemon = Process::spawn(clock.wrap(bench.command(&["run"])));
        daemon.until_line("the refusal", |line| line["certificate_id"] == "busy").await;
        clock.set(ahead);
        daemon.until_line(step, |line| line["message"].as_str().unwrap_or_default().contains(step)).await;
        until_all_submitted(&bench, &mut daemon, &ids).await;
        stop(daemon).await;
        bench.assert_each_submitted_once(&ids).await;
        bench.assert_nothing_resent_blindly().await;
        let (commits, reads) = (bench.simulator.commits_of("lost"), bench.simulator.reads_of("lost"));
        let after = |arrival: &Arrival| arrival.at.duration_since(commits[0].at);
        assert_eq!((commits.len(), reads.len()), (2, 3), "{ahead}");
        assert!(after(&reads[0]) < Duration::from_secs(2), "{:?}: read back at once, {ahead}", after(&reads[0]));
        assert!(after(&reads[1]) >= Duration::from_secs(2), "{:?} for settling, {ahead}", after(&reads[1]));
        assert!(after(&reads[2]) >= Duration::from_secs(5), "{:?} before the resend, {ahead}", after(&reads[2]));
        assert!(after(&commits[1]) >= Duration::from_secs(5), "{:?} until the resend, {ahead}", after(&commits[1]));
    }
}

#[tokio::test]
async fn due_times_follow_the_wall_clock() {
    let bench = bench(&[]).await;
    let clock = bench.fake_clock();
    let now = machine_seconds();
    let mut daemon = Process::spawn(clock.wrap(bench.command(&["run"])));
    daemon.until_event("ready").await;
    clock.set(-4 * MINUTE);
    daemon.until_line("the step", |line| line["message"].as_str().unwrap_or_default().contains("set back")).await;
    let enqueue = |id: &str, due_at: i64| {
        format!(
            "INSERT INTO submissions (certificate_id, due_at, created_at, updated_at) VALUES ('{id}', {due_at}, 0, 0);"
        )
    };
    bench.sql(&[enqueue("in-a-minute", now + MINUTE), enqueue("long-due", now - HOUR)].concat()).await;
    let line = daemon.until_event("submitted").await;
    assert_eq!(line["certificate_id"], "long-due", "the other isn't due by this clock");
    assert_eq!(bench.row("in-a-minute").await.state, "pending");
    clock.set(2 * MINUTE);
    let line = daemon.until_event("submitted").await;
    assert_eq!(line["certificate_id"], "in-a-minute", "it is due by this one");
    stop(daemon).await;
    bench.assert_each_submitted_once(&["long-due", "in-a-minute"]).await;
}

#[tokio::test]
async fn a_suspended_machine_keeps_the_limit_when_it_wakes_and_loses_nothing() {
    let cycles: usize = test_size("CYCLES", 2);
    let frozen = Duration::from_secs(test_size("FROZEN_SECONDS", 4));
    let bench = bench(&[("api.request_timeout", "2s"), ("worker.max_in_flight", "64"), ("pause.after", "1000")]).await;
    let latency = Duration::from_millis(800);
    bench.simulator.set_latency(latency, latency);
    let ids = ids(40 * cycles);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    for cycle in 0..cycles {
        in_time("some commits", bench.simulator.until_commits(20 + 40 * cycle)).await;
        daemon.signal("STOP");
        // This duration is the fault itself: requests in flight time out meanwhile.
        tokio::time::sleep(frozen).await;
        daemon.signal("CONT");
    }
    until_all_submitted(&bench, &mut daemon, &ids).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_the_limit_was_kept(&bench);
    let rows = bench.rows().await;
    let read_back = rows.iter().filter(|row| row.resolved_by.as_deref() == Some("readback")).count();
    let worst = worst_second(&bench.simulator.commit_times());
    println!(
        "{cycles} times frozen for {frozen:?}: {read_back} of {} read back, {worst} in the worst second",
        ids.len()
    );
}
