use super::*;
use crate::queue::{
    Control, Counts, DaemonRow, ErrorCount, Flaw, MINUTES, Oldest, Parameters, RestoreGap, Status, UntrustedText,
};

const NOW: i64 = 1_700_000_000;

fn text(text: &str) -> UntrustedText {
    UntrustedText::of(text)
}

/// A running daemon, in the middle of a long queue.
fn running() -> Diagnosis {
    let counts: [(State, i64); 6] = [
        (State::Pending, 123_456),
        (State::InFlight, 12),
        (State::InDoubt, 3),
        (State::Submitted, 87_120),
        (State::Failed, 17),
        (State::Held, 0),
    ];
    let mut per_minute = [1170; MINUTES];
    per_minute[..4].copy_from_slice(&[0, 1, 300, 600]);
    let status = Status {
        counts: Counts::from_iter(counts),
        daemon: DaemonRow {
            pid: Some(4756),
            started_at: Some(NOW - 11_520),
            heartbeat_at: Some(NOW - 3),
            mode: text("running"),
            pace: Some(19.5),
            ..DaemonRow::default()
        },
        control: Control::default(),
        oldest: Some(Oldest { certificate_id: text("abcb1234"), state: text("in_doubt"), created_at: NOW - 7_500 }),
        next_due: Some(NOW - 7_000),
        last_due: Some(NOW - 10),
        errors: vec![
            ErrorCount { code: Some(text("FailedOperation.CertificateNotFound")), count: 10_000, at_least: true },
            ErrorCount { code: None, count: 5, at_least: false },
        ],
        miscounted: false,
        per_minute,
    };
    Diagnosis { status, flaws: Vec::new(), gap: None, read_only: false, alive: true, now: NOW, cap: 20, reads_cap: 10 }
}

fn printed(diagnosis: &Diagnosis) -> String {
    lines_of(diagnosis, 80).iter().map(|line| line.print(80, false)).collect::<Vec<_>>().join("\n")
}

/// The lines above the counts.
fn top(diagnosis: &Diagnosis) -> String {
    printed(diagnosis).split_once("\nopen ").unwrap().0.to_owned()
}

#[test]
fn a_running_daemon_is_shown_with_its_whole_queue() {
    let expected = "\
RUNNING      up for 3 h 12 min, process 4756
open         123,456 pending, 12 in flight, 3 in doubt
closed       87,120 submitted, 17 failed, 0 held, 0 canceled
rate         19.5/s in the last minute, at most 20/s
             ·▁▃▅██████████████████████████ the last 30 minutes
time left    about 1 h 45 min, until 2023-11-14T23:58:52Z
oldest open  abcb1234, in doubt, enqueued 2 h 5 min ago; details: certcommit
             history abcb1234
failed with  10,000+ FailedOperation.CertificateNotFound
             5 no code: failed after a readback, or by an operator";
    assert_eq!(printed(&running()), expected);
}

#[test]
fn a_pause_says_why_and_what_to_do() {
    let mut by_hand = running();
    by_hand.status.control = Control { paused: true, pause_reason: Some(text("maintenance")), ..Control::default() };
    by_hand.status.daemon.mode = text("paused_by_operator");
    let expected = "\
PAUSED       by hand; up for 3 h 12 min, process 4756
why          an operator paused the queue: maintenance
do           once the operator's reason is over: certcommit resume";
    assert_eq!(top(&by_hand), expected);
    assert!(printed(&by_hand).contains("time left    about 1 h 45 min of work, once it resumes"));

    let mut restored = by_hand.clone();
    restored.status.control.pause_code = Some(text("restored_dump"));
    assert!(top(&restored).starts_with("PAUSED       by certcommit, until you resume it; "), "{}", top(&restored));
    assert!(top(&restored).contains("\nwhy          this database was read in from a dump"), "{}", top(&restored));
    assert!(top(&restored).ends_with("then: certcommit resume"), "{}", top(&restored));
    restored.status.control.pause_code = Some(text("something_newer"));
    assert!(top(&restored).contains("why          an operator paused the queue: maintenance"), "{}", top(&restored));

    let mut fault = running();
    fault.status.daemon.mode = text("paused_by_fault");
    fault.status.daemon.why = Some(text("the API can't be reached: connection refused"));
    fault.status.daemon.why_code = Some(text("api_unreachable"));
    fault.status.daemon.why_parameters = Some(Parameters::of(r#"{"why":"connection refused"}"#));
    let mut unknown = fault.clone();
    unknown.status.daemon.why_code = Some(text("something_newer"));
    let unknown = top(&unknown);
    assert!(unknown.contains("the API can't be reached") && unknown.contains("certcommit resume"), "{unknown}");
    let top = top(&fault);
    assert!(
        top.starts_with("PAUSED       because of a fault; up for 3 h 12 min, process 4756\nwhy          the API"),
        "{top}"
    );
    assert!(top.contains("\ndo           look at the network"), "{top}");
}

#[test]
fn a_paused_readback_is_shown_while_commits_continue() {
    let mut diagnosis = running();
    let error = r#"{"error":{"code":"UnauthorizedOperation","message":"no","request_id":null}}"#;
    diagnosis.status.daemon.why = Some(text("readback is paused: denied"));
    diagnosis.status.daemon.why_code = Some(text("readback_denied"));
    diagnosis.status.daemon.why_parameters = Some(Parameters::of(error));
    let output = printed(&diagnosis);
    assert!(
        output.starts_with("RUNNING      without readback; up ") && output.contains("ssl:DescribeCertificate"),
        "{output}"
    );
    assert!(output.contains("time left    unknown: 3 in doubt can't be read back"), "{output}");
    diagnosis.status.counts = [(State::Pending, 123_471)].into_iter().collect();
    assert!(printed(&diagnosis).contains("time left    about 1 h 45 min, until "), "{}", printed(&diagnosis));
}

#[test]
fn a_dead_daemon_is_an_alarm_while_submissions_wait() {
    let mut died = running();
    died.alive = false;
    let expected = "\
NOT RUNNING  123,471 waiting to be submitted; it did NOT shut down cleanly
do           systemctl status certcommit; journalctl -u certcommit -p warning;
             systemctl start certcommit";
    assert_eq!(top(&died), expected);
    assert!(lines_of(&died, 80)[0].print(80, true).starts_with("\u{1b}[1;41;97mNOT RUNNING"), "in red");

    let mut ended = died.clone();
    ended.status.daemon.mode = text("stopped");
    assert!(top(&ended).contains("submitted; it shut down cleanly\ndo           systemctl start"), "{}", top(&ended));
    ended.status.counts = Counts::default();
    ended.status.next_due = None;
    assert_eq!(top(&ended), "NOT RUNNING  it shut down cleanly");
    assert_eq!(lines_of(&ended, 80)[0].tone, Tone::Plain, "with an empty queue, it is no alarm");

    let mut new = died;
    new.status.daemon = DaemonRow { mode: text("stopped"), ..DaemonRow::default() };
    assert!(
        top(&new).starts_with("NOT RUNNING  123,471 waiting to be submitted; no daemon has ever run"),
        "{}",
        top(&new)
    );
}

#[test]
fn a_daemon_that_is_alive_but_writes_nothing_is_silent() {
    let mut diagnosis = running();
    diagnosis.status.daemon.heartbeat_at = Some(NOW - 36);
    let top = top(&diagnosis);
    assert!(top.starts_with("SILENT       alive, but has written nothing for 36 s"), "{top}");
    assert!(top.contains("is the disk full"), "{top}");
    diagnosis.status.daemon.heartbeat_at = Some(NOW - 30);
    assert!(printed(&diagnosis).starts_with("RUNNING "));
}

#[test]
fn the_time_left_includes_the_wait_for_due_times() {
    let mut diagnosis = running();
    diagnosis.status.counts = [(State::Pending, 100)].into_iter().collect();
    assert_eq!(diagnosis.time_left(), Some(6), "all are due now");
    (diagnosis.status.next_due, diagnosis.status.last_due) = (Some(NOW + 1000), Some(NOW + 1000));
    assert_eq!(diagnosis.time_left(), Some(1006), "none starts before it is due");
    (diagnosis.status.next_due, diagnosis.status.last_due) = (Some(NOW), Some(NOW + 86_400));
    assert_eq!(diagnosis.time_left(), Some(86_400));
    let expected =
        "time left    not before 2023-11-15T22:13:20Z, when the last is due; about 6 s of\n             work";
    assert!(printed(&diagnosis).contains(expected), "{}", printed(&diagnosis));
    diagnosis.status.counts = Counts::default();
    assert_eq!(diagnosis.time_left(), None);
}

#[test]
fn the_pace_is_the_daemons_own_while_it_is_alive() {
    let mut diagnosis = running();
    diagnosis.status.counts = [(State::Pending, 1000)].into_iter().collect();
    diagnosis.status.daemon.pace = Some(10.0);
    assert_eq!(diagnosis.work(), 101);
    diagnosis.alive = false;
    assert_eq!(diagnosis.work(), 51);
    diagnosis.status.daemon.pace = Some(f64::NAN);
    diagnosis.alive = true;
    assert_eq!(diagnosis.work(), 51);
}

#[test]
fn a_submission_in_doubt_takes_two_readbacks() {
    let mut diagnosis = running();
    diagnosis.status.counts = [(State::InDoubt, 200_000)].into_iter().collect();
    assert!(printed(&diagnosis).contains("time left    about 11 h 6 min, until 2023-11-15T09:20:01Z"));
    diagnosis.reads_cap = 5;
    assert_eq!(diagnosis.time_left(), Some(80_001));
}

#[test]
fn damage_is_shown_right_below_the_headline() {
    let mut diagnosis = running();
    diagnosis.gap = Some(RestoreGap::Emptied { made: 308 });
    diagnosis.status.miscounted = true;
    let expected = "\
RUNNING      up for 3 h 12 min, process 4756
damage       this database was emptied: 308 requests were made, and none of them
             is on record; the counts in state_counts are wrong";
    assert_eq!(top(&diagnosis), expected);
    diagnosis.flaws = vec![Flaw::of("trigger", "submissions_moved")];
    let top = top(&diagnosis);
    assert!(top.contains("\ndamage       trigger submissions_moved is missing; this database"), "{top}");
    assert!(top.ends_with("\ndo           stop the daemon; certcommit check --repair"), "{top}");
}

#[test]
fn a_read_only_mount_is_shown_unless_a_daemon_works_despite_it() {
    let mut diagnosis = running();
    diagnosis.read_only = true;
    assert!(!printed(&diagnosis).contains("read-only"), "the daemon has another mount");
    diagnosis.alive = false;
    let output = printed(&diagnosis);
    assert!(output.contains("damage       the filesystem of the queue is mounted read-only"), "{output}");
    assert!(
        output.contains("do           find out why (dmesg, if a disk failed), and mount it read-write"),
        "{output}"
    );
}

#[test]
fn held_submissions_come_with_the_next_step() {
    let mut diagnosis = running();
    diagnosis.status.counts = [(State::Held, 2)].into_iter().collect();
    let output = printed(&diagnosis);
    assert!(output.contains("\nheld         2 for you to decide: SELECT certificate_id, reason FROM"), "{output}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut diagnosis = running();
    diagnosis.status.daemon.why = Some(text(&format!("reading back is paused: {}", "words ".repeat(100))));
    for width in [10, 40, 60, 80] {
        for line in lines_of(&diagnosis, width) {
            assert!(line.print(width, false).chars().count() <= width, "{width}: {line:?}");
        }
    }
}

#[test]
fn durations_have_fitting_units_and_numbers_have_commas() {
    assert_eq!([duration(-5), duration(59), duration(61)], ["0 s", "59 s", "1 min"]);
    assert_eq!([duration(3_661), duration(200_000)], ["1 h 1 min", "2 days"]);
    assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
}
