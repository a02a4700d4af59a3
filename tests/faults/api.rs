//! Faults of the API: storms of refusals, lower limits, revoked credentials, missing permissions, unknown codes and statuses.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use certcommit::daemon::Stop;
use certcommit::simulator::{Fault, Options, ReadFault, rate, worst_second};
use certcommit::submission::State;

use crate::support::{Bench, Process, event_of, got, ids, in_time, test_size, text};

const CAP: usize = 20;
const THROTTLED: &str = "RequestLimitExceeded";
const BUSY: &str = "FailedOperation.NetworkError";
const DENIED: &str = "FailedOperation.AuthError";
const STATUS_REFUSED: &str = "FailedOperation.InvalidCertificateStatusCode";
const REVOKED: &str = "AuthFailure.SecretIdNotFound";

/// A bench whose server has this rate limit.
async fn bench(rate_limit: Option<u32>, settings: &[(&str, &str)]) -> Bench {
    // More than the default, since tests share the machine and delays vary more.
    let guard = [("rate.guard", "150ms")];
    Bench::with(Options { rate_limit, ..Options::default() }, &[&guard, settings].concat()).await
}

fn refused_for_the_rate(bench: &Bench) -> usize {
    bench.simulator.commits().iter().filter(|commit| got(THROTTLED)(commit)).count()
}

/// Waits until the log reports this many submissions. Long runs have no time limit.
async fn until_submitted(daemon: &mut Process, count: usize) {
    let done = daemon.seen().iter().filter(|line| event_of(line) == "submitted").count();
    for _ in done..count {
        daemon.until_event("submitted").await;
    }
}

async fn stop(daemon: Process) {
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

#[tokio::test]
async fn a_storm_of_rate_refusals_wastes_at_most_a_tenth_of_the_requests_and_pauses_the_queue() {
    let rows: usize = test_size("ROWS", 180);
    let storm = Duration::from_secs(test_size("STORM_SECONDS", 0));
    let probe = test_size("PROBE_SECONDS", 3).to_string() + "s";
    let bench = bench(None, &[("pause.probe_initial", &probe), ("pause.probe_max", "15m")]).await;
    let ids = ids(rows);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some orders", bench.simulator.until_orders(40)).await;
    bench.simulator.outage(Some(THROTTLED));
    let paused = daemon.until_event("paused").await;
    let why = paused["why"].as_str().unwrap();
    assert!(paused["cause"] == "rate_exhausted" && why.contains(THROTTLED), "{paused}");
    // In a long run, the storm continues while the queue is paused. This duration is the fault itself.
    tokio::time::sleep(storm).await;
    in_time("a probe", bench.simulator.until_commits(bench.simulator.commits().len() + 1)).await;
    bench.simulator.outage(None);
    daemon.until_event("resumed").await;
    let before = bench.simulator.commits().len();
    until_submitted(&mut daemon, rows).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1), "a refusal for the rate spends no try");
    let (total, times) = (bench.simulator.commits().len(), bench.simulator.commit_times());
    let busiest = worst_second(&times[before..]);
    println!("{total} requests for {rows} rows; after the storm, {busiest} in the busiest second");
    assert!(total * 10 <= rows * 11, "{total} requests for {rows} rows");
    assert!(worst_second(&times) <= CAP);
    assert!(busiest > CAP / 2, "the pace recovers: {busiest} in the busiest second after the storm");
}

/// Submits rows for this many seconds under a true limit below the cap. Returns the share of the limit that was used, and the
/// share of the requests that was refused.
async fn use_of_a_limit(limit: u32, seconds: u32) -> (f64, f64) {
    let bench = bench(Some(limit), &[]).await;
    let ids = ids(usize::try_from(limit * seconds).unwrap());
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    until_submitted(&mut daemon, ids.len()).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
    let commits = bench.simulator.commits();
    let granted: Vec<_> = commits.iter().filter(|commit| !got(THROTTLED)(commit)).map(|commit| commit.at).collect();
    let refused = as_f64(refused_for_the_rate(&bench)) / as_f64(commits.len());
    (rate(&granted) / f64::from(limit), refused)
}

#[tokio::test]
async fn a_true_limit_below_the_cap_is_used_and_rarely_exceeded() {
    let (limit, seconds) = (10, 12);
    let (used, refused) = use_of_a_limit(limit, seconds).await;
    println!("a true limit of {limit}/s for {seconds} s: {:.1} % used, {:.1} % refused", 100.0 * used, 100.0 * refused);
    // Lenient: the daemon has to find the limit first, and a loaded machine uses less of it.
    assert!(used > 0.5 && refused < 0.12, "used {used:.3}, refused {refused:.3}");
}

#[tokio::test]
async fn the_pace_follows_a_limit_that_falls_and_rises() {
    let seconds = 4;
    let bench = bench(Some(15), &[]).await;
    // As many rows as the limits allow: 15/s, then 5/s, then 15/s.
    let (falls, rises, all) = (15 * seconds, 20 * seconds, 35 * seconds);
    let ids = ids(all);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    until_submitted(&mut daemon, falls).await;
    bench.simulator.set_rate_limit(Some(5));
    until_submitted(&mut daemon, rises).await;
    bench.simulator.set_rate_limit(Some(15));
    until_submitted(&mut daemon, all).await;
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    let times = bench.simulator.commit_times();
    let took = times[times.len() - 1].duration_since(times[0]).as_secs_f64();
    let used = 3.0 * as_f64(seconds) / took;
    let refused = as_f64(refused_for_the_rate(&bench)) / as_f64(times.len());
    println!("15/s, 5/s, 15/s, {seconds} s each: {:.1} % used, {:.1} % refused", 100.0 * used, 100.0 * refused);
    assert!(refused < 0.15, "{refused:.3} refused");
}

#[tokio::test]
async fn reads_refused_for_their_rate_are_repeated_at_a_lower_pace() {
    let bench = bench(None, &[("pause.after", "1000")]).await;
    bench.simulator.set_read_rate_limit(Some(2));
    let ids = ids(10);
    ids.iter().for_each(|id| bench.simulator.script_commits(id, vec![Fault::CutAfter]));
    bench.enqueue(&ids).await;
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    assert_eq!(bench.simulator.commits().len(), 10);
    let reads = bench.simulator.reads().len();
    assert!((11..=20).contains(&reads), "{reads} reads for 10 rows");
}

#[tokio::test]
async fn revoked_credentials_in_a_file_pause_the_queue_until_the_file_has_new_ones() {
    let mut bench = bench(None, &[]).await;
    let file = bench.path("credentials");
    let write = |key: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, format!("[default]\nsecret_id = {key}-id\nsecret_key = {key}-secret\n")).unwrap();
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    write("first");
    bench.simulator.set_credentials("first-id", "first-secret");
    bench.set("credentials.source", "file");
    bench.set("credentials.file", &text(&file));
    let ids = ids(40);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some orders", bench.simulator.until_orders(10)).await;
    bench.simulator.set_credentials("second-id", "second-secret");
    let paused = daemon.until_event("paused").await;
    let why = paused["why"].as_str().unwrap();
    assert!(paused["cause"] == "credentials_rejected" && why.contains(REVOKED), "{paused}");
    let refused = |bench: &Bench| bench.simulator.commits().iter().filter(|commit| got(REVOKED)(commit)).count();
    in_time("some probes", bench.simulator.until(|_| refused(&bench) >= 4)).await;
    let rows = bench.rows().await;
    assert!(rows.iter().all(|row| row.tries == i64::from(row.state == "submitted")), "no try is spent: {rows:?}");
    write("second");
    daemon.until_event("resumed").await;
    until_submitted(&mut daemon, ids.len()).await;
    let leaked = daemon.seen().iter().any(|line| line.to_string().contains("-secret"));
    assert!(!leaked, "no secret is in the log");
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    assert!(bench.rows().await.iter().all(|row| row.tries == 1));
}

#[tokio::test]
async fn an_unknown_code_is_handled_as_its_family_and_never_repeated_blindly() {
    let bench = bench(None, &[("pause.after", "1000")]).await;
    let refused = [
        "FailedOperation.Novel",
        "InvalidParameter.Novel",
        "InvalidParameterValue.Novel",
        "MissingParameter.Novel",
        "UnknownParameter.Novel",
        "UnsupportedOperation.Novel",
        "LimitExceeded.Novel",
        "ResourceNotFound.Novel",
        "UnauthorizedOperation.Novel",
        "InvalidRequest.Novel",
    ];
    let temporary = ["RequestLimitExceeded.Novel", "AuthFailure.Novel"];
    let doubtful = [
        "InternalError.Novel",
        "ServiceUnavailable.Novel",
        "ResourceUnavailable.Novel",
        "ResourceInUse.Novel",
        "ResourceInsufficient.Novel",
        "Novel",
        "Novel.Altogether",
        "AuthFailureNovel",
    ];
    let id = |code: &str, what: &str| format!("{}-{what}", code.replace('.', "-"));
    let mut submitted = Vec::new();
    for code in temporary.iter().chain(&doubtful) {
        bench.simulator.script_commits(&id(code, "without"), vec![Fault::Error((*code).to_owned())]);
        submitted.push(id(code, "without"));
    }
    for code in doubtful {
        bench.simulator.script_commits(&id(code, "after"), vec![Fault::ErrorAfter(code.to_owned())]);
        submitted.push(id(code, "after"));
    }
    let failed: Vec<String> = refused.iter().map(|code| id(code, "refused")).collect();
    for (id, code) in failed.iter().zip(refused) {
        bench.simulator.script_commits_forever(id, Fault::Error(code.to_owned()));
    }
    bench.enqueue(&submitted).await;
    bench.enqueue(&failed).await;
    let mut daemon = bench.start().await;
    daemon.until_count(State::Failed, i64::try_from(failed.len()).unwrap()).await;
    daemon.until_count(State::Submitted, i64::try_from(submitted.len()).unwrap()).await;
    daemon.stop(Stop::Soon).await;
    bench.assert_each_submitted_once(&submitted).await;
    bench.assert_nothing_resent_blindly().await;
    for (id, code) in failed.iter().zip(refused) {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.error_code.as_deref()), ("failed", Some(code)), "{row:?}");
        assert_eq!(bench.simulator.commits_of(id).len(), 1, "{code}");
    }
    for code in doubtful {
        assert_eq!(bench.row(&id(code, "after")).await.resolved_by.as_deref(), Some("readback"), "{code}");
        assert_eq!(bench.simulator.commits_of(&id(code, "after")).len(), 1, "{code}");
        // An early one may come before them.
        let reads = bench.simulator.reads_of(&id(code, "without")).len();
        assert!((2..=3).contains(&reads), "{code}: {reads} reads before the resend");
    }
    for code in temporary {
        assert_eq!(bench.row(&id(code, "without")).await.tries, 1, "{code} spends no try");
    }
    let message: String =
        bench.value("SELECT error_message FROM submissions WHERE error_code = 'FailedOperation.Novel'").await;
    assert!(message.contains("doesn't know"), "{message}");
}

#[tokio::test]
async fn an_unknown_status_is_stored_and_fails_nothing() {
    let bench = bench(None, &[]).await;
    let statuses = [("sixteen", 16), ("many", 4711), ("negative", -1), ("largest", i64::MAX), ("smallest", i64::MIN)];
    let ids: Vec<&str> = statuses.iter().map(|(id, _)| *id).collect();
    for (id, status) in statuses {
        bench.simulator.script_commits(id, vec![Fault::Status(status)]);
    }
    bench.enqueue(&ids).await;
    let ended = bench.run_until_empty().await;
    assert_eq!(ended.counts.of(State::Submitted), 5);
    bench.assert_each_submitted_once(&ids).await;
    for (id, status) in statuses {
        assert_eq!(bench.row(id).await.status, Some(status), "{id}");
    }
    let reported: i64 = bench.value("SELECT count(*) FROM submission_report WHERE state = 'submitted'").await;
    assert_eq!(reported, 5, "the report has them all");
}

#[tokio::test]
async fn a_refusal_for_the_status_counts_only_if_a_readback_confirms_it() {
    let bench = bench(None, &[("pause.after", "1000")]).await;
    let refused = || Fault::Error(STATUS_REFUSED.to_owned());
    let with_order = ["placed-elsewhere", "placed-by-a-lost-commit"];
    bench.simulator.set_certificate(with_order[0], 8, Some("SO9"));
    // The first commit's order becomes visible only after the second commit was refused.
    let unseen = ReadFault::Shows { order_id: None, status: Some(13) };
    bench.simulator.script_commits(with_order[1], vec![Fault::CutAfter]);
    bench.simulator.script_reads(with_order[1], vec![unseen.clone(), unseen]);
    bench.simulator.script_commits("without-order", vec![refused()]);
    bench.simulator.set_certificate("dead-end", 7, None);
    bench.enqueue(&[with_order[0], with_order[1], "without-order", "dead-end"]).await;
    bench.run_until_empty().await;
    for id in with_order {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.resolved_by.as_deref()), ("submitted", Some("readback")), "{row:?}");
        assert_eq!(row.order_id, bench.simulator.order_id(id));
    }
    assert_eq!(bench.simulator.orders_placed(with_order[1]), 1);
    let row = bench.row("without-order").await;
    let result = (row.state.as_str(), row.status, row.error_code.as_deref());
    assert_eq!(
        result,
        ("held", Some(13), Some(STATUS_REFUSED)),
        "the refusal and the readback contradict each other: {row:?}"
    );
    assert_eq!(bench.simulator.commits_of("without-order").len(), 1);
    let row = bench.row("dead-end").await;
    let result = (row.state.as_str(), row.status, row.error_code.as_deref());
    assert_eq!(result, ("failed", Some(7), Some(STATUS_REFUSED)), "{row:?}");
    bench.assert_nothing_resent_blindly().await;
}

#[tokio::test]
async fn a_ca_that_stays_busy_costs_a_few_tries_and_no_row() {
    let busy_for = Duration::from_secs(test_size("BUSY_SECONDS", 0));
    let (probe_initial, probe_max) = if busy_for.is_zero() { ("1s", "2s") } else { ("30s", "15m") };
    let waits = [("pause.probe_initial", probe_initial), ("pause.probe_max", probe_max), ("retry.max_tries", "8")];
    let bench = bench(None, &waits).await;
    bench.simulator.outage(Some(BUSY));
    let ids = ids(30);
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    let paused = daemon.until_event("paused").await;
    assert!(paused["why"].as_str().unwrap().contains(BUSY), "{paused}");
    // This duration is the fault itself.
    tokio::time::sleep(busy_for).await;
    if busy_for.is_zero() {
        in_time("some probes", bench.simulator.until_commits(10)).await;
    }
    let requests = bench.simulator.commits().len();
    bench.simulator.outage(None);
    if !busy_for.is_zero() {
        bench.sql("UPDATE control SET probe_requested = 1").await;
    }
    daemon.until_event("resumed").await;
    until_submitted(&mut daemon, ids.len()).await;
    let paused = daemon.seen().iter().filter(|line| event_of(line) == "paused").count();
    assert_eq!(paused, 1, "one pause, however many probes");
    stop(daemon).await;
    bench.assert_each_submitted_once(&ids).await;
    let max_tries = bench.rows().await.iter().map(|row| row.tries).max().unwrap();
    println!("busy for {busy_for:?}: {requests} requests meanwhile, at most {max_tries} tries");
    assert!(max_tries <= 3, "{max_tries} tries of 8");
}

#[tokio::test]
async fn a_missing_permission_for_one_certificate_fails_only_that_one() {
    let bench = bench(None, &[]).await;
    bench.simulator.script_commits_forever("cert-0003", Fault::Error(DENIED.to_owned()));
    let ids = ids(20);
    bench.enqueue(&ids).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(1), "one row failed");
    assert!(!lines.iter().any(|line| event_of(line) == "paused"), "one row pauses nothing");
    let line = lines.iter().find(|line| event_of(line) == "failed").expect("the failure is logged");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("cert-0003") && message.contains("no permission for this certificate"), "{message}");
    let (denied, good): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| id == "cert-0003");
    bench.assert_each_submitted_once(&good).await;
    let row = bench.row(&denied[0]).await;
    assert_eq!((row.state.as_str(), row.error_code.as_deref()), ("failed", Some(DENIED)));
    assert_eq!(bench.simulator.commits_of(&denied[0]).len(), 1);
}

#[tokio::test]
async fn a_missing_permission_of_the_account_pauses_the_queue_after_a_few_rows() {
    let bench = bench(None, &[]).await;
    let ids = ids(30);
    bench.enqueue(&ids).await;
    bench.simulator.outage(Some(DENIED));
    let mut daemon = bench.spawn(&["run"]);
    let paused = daemon.until_event("paused").await;
    let why = paused["why"].as_str().unwrap();
    assert!(paused["cause"] == "commit_denied" && why.contains(DENIED), "{paused}");
    in_time("some probes", bench.simulator.until_commits(12)).await;
    let failed = bench.count("failed").await;
    assert!((5..=8).contains(&failed), "{failed} failed");
    bench.simulator.outage(None);
    daemon.until_event("resumed").await;
    until_submitted(&mut daemon, ids.len() - failed).await;
    stop(daemon).await;
    let rows = bench.rows().await;
    assert_eq!(rows.iter().filter(|row| row.state == "submitted").count(), ids.len() - failed, "{rows:?}");
    assert!(rows.iter().all(|row| row.tries == 1), "the probes spent no try");
}
