use std::sync::Arc;

use super::*;
use crate::cli::exit::Code;
use crate::queue::{
    Control, Counts, DaemonRow, ErrorCount, FailedGroup, Flaw, IncidentRow, MINUTES, Oldest, Parameters, Process,
    QueueError, RestoreGap, Status, UntrustedText,
};
use crate::submission::Standing;

const NOW: i64 = 1_700_000_000;

fn text(text: &str) -> UntrustedText {
    UntrustedText::of(text)
}

/// So many failed submissions that share nothing.
fn group(count: i64) -> FailedGroup {
    FailedGroup { error_code: None, error_message: None, verify_type: None, reference: None, count, since: None }
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
            ErrorCount {
                code: Some(text("FailedOperation.CertificateNotFound")),
                count: 10_000,
                at_least: true,
                groups: vec![FailedGroup { error_message: Some(text("no such certificate")), ..group(10_000) }],
            },
            ErrorCount { code: None, count: 5, at_least: false, groups: vec![group(5)] },
        ],
        waiting_orders: Standing::FOR_A_PERSON.map(|standing| (standing, 0)).to_vec(),
        miscounted: false,
        per_minute,
        throttled_with: None,
        incidents: Vec::new(),
        last_write_at: Some((NOW - 3) * 1000),
    };
    Diagnosis {
        status,
        flaws: Vec::new(),
        gap: None,
        obstacle: None,
        alive: true,
        now: NOW,
        cap: 20,
        reads_cap: 10,
        resend_after: 600,
    }
}

/// What the daemon reports, since a while ago.
fn incident(code: &str, parameters: &str, why: &str) -> IncidentRow {
    IncidentRow {
        code: text(code),
        parameters: Some(Parameters::of(parameters)),
        why: text(why),
        since: Some(NOW - 800),
        probes: 0,
        last_probe_at: None,
        next_probe_at: None,
    }
}

/// The daemon can't reach the API.
fn unreachable() -> IncidentRow {
    let why = "the API can't be reached: connection refused";
    incident("api_unreachable", r#"{"why":"connection refused"}"#, why)
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
failed with  10,000+ FailedOperation.CertificateNotFound: no such certificate
             5 no code: failed after a readback, or by an operator
             once the cause is removed: certcommit retry --error-code
             FailedOperation.CertificateNotFound --dry-run, and again without
             --dry-run. If they have to be validated in another way, with
             --verify-type TYPE (DNS_AUTO, DNS, FILE, DNS_PROXY, FILE_PROXY)";
    assert_eq!(printed(&running()), expected);
}

#[test]
fn a_pause_says_why_and_what_to_do() {
    let mut by_hand = running();
    by_hand.status.control = Control {
        paused: true,
        pause_reason: Some(text("maintenance")),
        paused_at: Some(NOW - 800),
        ..Control::default()
    };
    by_hand.status.daemon.mode = text("paused_by_operator");
    let expected = "\
PAUSED       by hand; up for 3 h 12 min, process 4756
why          an operator paused the queue: maintenance
since        2023-11-14T22:00:00Z, for 13 min
meanwhile    123456 pending, 12 in flight, 3 in doubt: nothing is lost, and
             nothing is ordered twice: what is pending waits unsent, and what is
             in doubt is read back before it is sent again
do           once the operator's reason is over: certcommit resume";
    assert_eq!(top(&by_hand), expected);
    assert!(printed(&by_hand).contains("time left    unknown: nothing is sent; about 1 h 45 min of work"));

    let mut restored = by_hand.clone();
    restored.status.control.pause_code = Some(text("restored_dump"));
    assert!(top(&restored).starts_with("PAUSED       by certcommit, until you resume it; "), "{}", top(&restored));
    assert!(top(&restored).contains("\nwhy          this database was read in from a dump"), "{}", top(&restored));
    assert!(top(&restored).ends_with("then: certcommit resume"), "{}", top(&restored));
    restored.status.control.pause_code = Some(text("something_newer"));
    assert!(top(&restored).contains("why          an operator paused the queue: maintenance"), "{}", top(&restored));

    let mut fault = running();
    fault.status.daemon.mode = text("paused_by_fault");
    fault.status.incidents = vec![unreachable()];
    let mut unknown = fault.clone();
    unknown.status.incidents[0].code = text("something_newer");
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
fn a_pause_by_a_fault_says_since_when_what_its_probes_found_and_when_the_next_comes() {
    let mut fault = running();
    fault.status.daemon.mode = text("paused_by_fault");
    let found = |next| IncidentRow { probes: 4, last_probe_at: Some(NOW - 125), next_probe_at: next, ..unreachable() };
    fault.status.incidents = vec![found(Some(NOW + 355))];
    let lines = top(&fault);
    for line in [
        "since        2023-11-14T22:00:00Z, for 13 min",
        "probes       4 failed, the last 2 min ago; the next in 5 min",
        "meanwhile    123456 pending, 12 in flight, 3 in doubt: nothing is lost, and",
    ] {
        assert!(lines.contains(line), "{line} in {lines}");
    }
    assert!(printed(&fault).contains("time left    unknown: nothing is sent"), "{}", printed(&fault));
    fault.status.incidents = vec![found(None)];
    assert!(top(&fault).contains("2 min ago; one is under way"), "{}", top(&fault));
}

#[test]
fn everything_that_is_paused_is_shown_each_with_its_remedy() {
    let mut both = running();
    both.status.daemon.mode = text("paused_by_fault");
    let why = r#"{"why":"InternalError: backend error","request_id":"r-7"}"#;
    both.status.incidents = vec![
        unreachable(),
        incident("readback_failing", why, "readback is paused: several reads failed (RequestId r-7)"),
    ];
    let lines = top(&both);
    assert!(lines.starts_with("PAUSED       because of a fault, and without readback; up "), "{lines}");
    assert_eq!((lines.matches("\nwhy ").count(), lines.matches("\ndo ").count()), (2, 2), "{lines}");
    assert!(lines.contains("RequestId r-7"), "{lines}");
}

#[test]
fn what_keeps_a_daemon_from_working_is_named_with_its_remedy() {
    let mut blocked = running();
    let sqlite3 = Process { pid: 4711, program: Some("sqlite3 queue.db".to_owned()), started: None, is_stopped: false };
    let locked = QueueError::Locked { path: "/q/queue.db".into(), holder: Some(sqlite3.clone()), last_write: None };
    blocked.obstacle = Some(Arc::new(locked));
    let expected = "\
BLOCKED      alive, but can't work, process 4756
why          process 4711 (sqlite3 queue.db) holds the write lock of /q/queue.db
since        2023-11-14T22:13:17Z, for 3 s
meanwhile    nothing is sent. 12 are in flight: the daemon keeps their results
             in memory until it can write them, so don't kill it; systemctl stop
             is safe. Nothing is lost, and what has no result is read back
             before it is sent again
do           let it commit or roll back its transaction, or end it: kill 4711.
             certcommit continues by itself";
    assert_eq!(top(&blocked), expected);
    assert_eq!(blocked.exit_code(), Code::Io);
    blocked.obstacle = Some(Arc::new(QueueError::DaemonFrozen(sqlite3)));
    assert!(
        top(&blocked).contains("\ndo           let it continue, as root or as its user: kill -CONT 4711. Replies"),
        "{}",
        top(&blocked)
    );
    blocked.alive = false;
    blocked.obstacle = Some(Arc::new(QueueError::NoSpace { directory: "/q".into(), free: 0 }));
    let lines = top(&blocked);
    assert!(lines.starts_with("NOT RUNNING ") && lines.contains("no space is left in /q: 0 bytes"), "{lines}");
}

#[test]
fn the_exit_code_is_that_of_what_is_wrong() {
    let mut diagnosis = running();
    assert_eq!(diagnosis.exit_code(), Code::Done);
    diagnosis.status.daemon.mode = text("paused_by_fault");
    assert_eq!(diagnosis.exit_code(), Code::Unavailable);
    diagnosis.alive = false;
    assert_eq!(diagnosis.exit_code(), Code::Unavailable, "it died, and submissions wait");
    let mut decided = running();
    decided.status.counts = [(State::Held, 1)].into_iter().collect();
    assert_eq!(decided.exit_code(), Code::PartlyDone);
    decided.status.counts = Counts::default();
    (decided.alive, decided.status.daemon.mode) = (false, text("stopped"));
    assert_eq!(decided.exit_code(), Code::Done, "it stopped, and nothing waits");
    decided.flaws = vec![Flaw::of("trigger", "submissions_moved")];
    assert_eq!(decided.exit_code(), Code::Data);
}

#[test]
fn a_paused_readback_is_shown_while_commits_continue() {
    let mut diagnosis = running();
    let error = r#"{"error":{"code":"UnauthorizedOperation","message":"no","request_id":null}}"#;
    diagnosis.status.incidents = vec![incident("readback_denied", error, "readback is paused: denied")];
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
NOT RUNNING  123,456 waiting to be submitted, 15 perhaps ordered; its last run
             did not record its end
why          the last run did not record its end: it was killed, it crashed, or
             it could not write, which its log says
since        2023-11-14T22:13:17Z, for 3 s
meanwhile    nothing is sent. 123456 pending, 15 perhaps ordered (results that
             came are in the log): nothing is lost, and the next run reads back
             what may have been ordered before it sends it again
do           see why it ended: journalctl -u certcommit -n 50; then: systemctl
             start certcommit";
    assert_eq!(top(&died), expected);
    assert!(lines_of(&died, 80)[0].print(80, true).starts_with("\u{1b}[1;41;97mNOT RUNNING"), "in red");

    let mut ended = died.clone();
    ended.status.daemon.mode = text("stopped");
    let top_of_ended = top(&ended);
    assert!(top_of_ended.contains("it shut down\n             cleanly\nsince "), "{top_of_ended}");
    assert!(top_of_ended.contains("\ndo           systemctl start"), "{top_of_ended}");
    ended.status.counts = Counts::default();
    ended.status.next_due = None;
    assert_eq!(top(&ended), "NOT RUNNING  it shut down cleanly");
    assert_eq!(lines_of(&ended, 80)[0].tone, Tone::Plain, "with an empty queue, it is no alarm");

    let mut new = died;
    new.status.daemon = DaemonRow { mode: text("stopped"), ..DaemonRow::default() };
    assert!(
        top(&new).starts_with("NOT RUNNING  123,456 waiting to be submitted, 15 perhaps ordered; no daemon"),
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
    assert!(top.contains("systemctl restart certcommit"), "{top}");
    assert_eq!(diagnosis.exit_code(), Code::Unavailable);
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
fn what_is_in_doubt_may_take_longer_than_the_rest() {
    let mut diagnosis = running();
    diagnosis.status.counts = [(State::Pending, 100), (State::InDoubt, 2)].into_iter().collect();
    let expected = "time left    about 6 s, until 2023-11-14T22:13:26Z; the 2 in doubt up to 10 min,\n             if they have no order";
    assert!(printed(&diagnosis).contains(expected), "{}", printed(&diagnosis));
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
fn a_lower_limit_of_the_server_is_shown_as_such() {
    let mut diagnosis = running();
    diagnosis.status.daemon.pace = Some(10.0);
    diagnosis.status.throttled_with = Some(text("RequestLimitExceeded"));
    let expected = "\
rate         19.5/s in the last minute, at most 10.0/s: that is what the server
             allows at present (RequestLimitExceeded), of 20/s that are
             configured. Nothing to do: certcommit tries for more by itself";
    assert!(printed(&diagnosis).contains(expected), "{}", printed(&diagnosis));
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
damage       this database was deleted, emptied, or restored from an early copy:
             308 requests were made, and none of them is on record; the counts
             in state_counts are wrong; those below are not";
    assert_eq!(top(&diagnosis), expected);
    diagnosis.flaws = vec![Flaw::of("trigger", "submissions_moved")];
    let top = top(&diagnosis);
    assert!(top.contains("\ndamage       trigger submissions_moved is missing; this database"), "{top}");
    assert!(top.contains("\ndo           stop the daemon; then, as its user: certcommit check --repair;"), "{top}");
    diagnosis.alive = false;
    assert!(!self::top(&diagnosis).contains("stop the daemon"));
}

#[test]
fn a_read_only_mount_is_shown_unless_a_daemon_works_despite_it() {
    let mut diagnosis = running();
    diagnosis.obstacle = Some(Arc::new(QueueError::ReadOnlyFilesystem { path: "/q/queue.db".into(), only_here: true }));
    assert!(!printed(&diagnosis).contains("read-only"), "the daemon has another mount");
    diagnosis.obstacle =
        Some(Arc::new(QueueError::ReadOnlyFilesystem { path: "/q/queue.db".into(), only_here: false }));
    assert!(printed(&diagnosis).starts_with("BLOCKED "), "it can't write either, and hasn't tried yet");
    diagnosis.obstacle = Some(Arc::new(QueueError::ReadOnlyFilesystem { path: "/q/queue.db".into(), only_here: true }));
    diagnosis.alive = false;
    let output = printed(&diagnosis);
    assert!(output.contains("why          /q/queue.db is on a filesystem that is mounted read-only"), "{output}");
    assert!(output.contains("do           find out why (dmesg shows failed disks); its mount"), "{output}");
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
    diagnosis.status.incidents = vec![incident("readback_denied", "{}", &"words ".repeat(100))];
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

#[test]
fn orders_that_wait_for_a_person_are_counted_with_where_to_find_them() {
    let mut diagnosis = running();
    assert!(!printed(&diagnosis).contains("orders  "));
    diagnosis.status.waiting_orders = vec![(Standing::LetterNeeded, 1_234), (Standing::Refused, 2)];
    let expected = "orders       1,234 waiting for a confirmation letter, 2 refused by the CA.";
    assert!(printed(&diagnosis).contains(expected), "{}", printed(&diagnosis));
}
