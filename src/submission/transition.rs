//! The whole state machine as one pure function.

use std::time::Duration;

use super::evidence::Evidence;
use super::outcome::{CommitClass, CommitOutcome, NEGATIVE_READS_TO_RESEND, ReadClass, ReadOutcome, Refusal};
use super::policy::{RetryPolicy, VerifyPolicy};
use super::state::{ResolvedBy, State};
use super::status::{Reading, Verdict};

/// What the decisions depend on besides the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bounds and pace of the retries.
    pub retry: RetryPolicy,
    /// The waits of the read-back.
    pub verify: VerifyPolicy,
}

/// What a decision needs to know of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub state: State,
    /// Commits that counted so far, without the one that just ended.
    pub tries: u32,
    /// What the record of its requests shows.
    pub evidence: Evidence,
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its commit ended.
    Commit(CommitOutcome),
    /// Its read ended.
    Read(ReadOutcome),
    /// It was claimed, and given back before anything was sent, for the reason given.
    Unsent(String),
    /// Its commit was on the way, or may have been, when the daemon stopped or died.
    Interrupted,
}

/// What becomes of the row. What is `None` stays as it is on the row; `submitted` clears the error.
/// When the state stays, only `due_in` and `reason` apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where the row goes.
    pub to: State,
    /// Whether the request counts against `retry.max_tries`.
    pub spends_try: bool,
    /// How long from now until it is due.
    pub due_in: Duration,
    /// The CA's order number.
    pub order_id: Option<String>,
    /// The certificate's status.
    pub status: Option<i64>,
    /// The ID of the request that decided.
    pub request_id: Option<String>,
    /// The last error's code and message.
    pub error: Option<(String, String)>,
    /// Why it waits, failed or is held: one sentence.
    pub reason: Option<String>,
    /// Who established that it is submitted.
    pub resolved_by: Option<ResolvedBy>,
}

/// Decides what becomes of a row. `None`: the event doesn't concern a row in this state, which stays as it is.
///
/// `dice` is a random number in `0.0..1.0`, for the jitter of the backoff.
#[must_use]
pub fn next_state(row: &Row, event: &Event, policy: &Policy, dice: f64) -> Option<Change> {
    let decide = Decision { row, policy, dice };
    match (row.state, event) {
        (State::InFlight, Event::Commit(outcome)) => Some(decide.after_commit(outcome)),
        (State::InFlight, Event::Unsent(why)) => Some(Change::to(State::Pending).because(&format!("not sent: {why}"))),
        (State::InFlight, Event::Interrupted) => Some(decide.doubt("certcommit stopped before the reply came", None)),
        (State::InDoubt, Event::Read(outcome)) => Some(decide.after_read(outcome)),
        (State::Pending, Event::Read(outcome)) => Some(decide.after_read_first(outcome)),
        _ => None,
    }
}

struct Decision<'a> {
    row: &'a Row,
    policy: &'a Policy,
    dice: f64,
}

impl Decision<'_> {
    fn after_commit(&self, outcome: &CommitOutcome) -> Change {
        match outcome {
            CommitOutcome::Submitted(receipt) => Change {
                order_id: Some(receipt.order_id.clone()),
                status: Some(receipt.status),
                request_id: receipt.request_id.clone(),
                resolved_by: Some(ResolvedBy::Reply),
                spends_try: true,
                ..Change::to(State::Submitted)
            },
            CommitOutcome::Retry(refusal) => self.retry(refusal, Duration::ZERO),
            // An order that it placed may take as long to show.
            CommitOutcome::BackendError(refusal) => self.retry(refusal, self.policy.verify.settle),
            CommitOutcome::Throttled(refusal) => {
                Change::to(State::Pending).refused(refusal).because("the server limits the rate; not executed")
            }
            CommitOutcome::Account(refusal) => Change::to(State::Pending)
                .refused(refusal)
                .because("the account or its credentials were refused, not this certificate; not executed"),
            CommitOutcome::Denied(refusal) => Change { spends_try: true, ..Change::to(State::Failed) }
                .refused(refusal)
                .because("no permission for this certificate; grant it, then retry"),
            CommitOutcome::Failed(refusal) => Change { spends_try: true, ..Change::to(State::Failed) }
                .refused(refusal)
                .because("the server refused it; nothing was placed"),
            CommitOutcome::StatusRefused(refusal) => {
                Change { spends_try: true, ..Change::to(State::InDoubt) }.refused(refusal).because(
                    "the server says that its status doesn't allow a commit; read back to see whether an order stands",
                )
            }
            CommitOutcome::NotSent(why) => {
                Change { due_in: self.backoff(self.row.tries + 1), ..Change::to(State::Pending) }
                    .because(&format!("not sent: {why}"))
            }
            CommitOutcome::InDoubt { why, refusal } => self.doubt(why, refusal.as_ref()),
        }
    }

    /// The server may have acted all the same, so the certificate is read, no earlier than this, before the next try,
    /// or before it is given up.
    fn retry(&self, refusal: &Refusal, no_earlier: Duration) -> Change {
        let tries = self.row.tries + 1;
        let max = self.policy.retry.max_tries;
        if tries >= max {
            return Change { spends_try: true, due_in: no_earlier, ..Change::to(State::InDoubt) }
                .refused(refusal)
                .because(&format!("try {tries} of {max} failed; read back before it is given up"));
        }
        let due_in = self.backoff(tries).max(no_earlier);
        Change { spends_try: true, due_in, ..Change::to(State::Pending) }
            .refused(refusal)
            .because(&format!("try {tries} of {max} failed; waits for the next"))
    }

    fn doubt(&self, why: &str, refusal: Option<&Refusal>) -> Change {
        let change = Change { spends_try: true, due_in: self.policy.verify.settle, ..Change::to(State::InDoubt) };
        let change = match refusal {
            Some(refusal) => change.refused(refusal),
            None => change,
        };
        change.because(&format!("{why}: the order may have been placed, so it is read back before anything else"))
    }

    /// A row in doubt was read.
    fn after_read(&self, outcome: &ReadOutcome) -> Change {
        match outcome {
            ReadOutcome::Seen(reading) => self.after_reading(reading),
            ReadOutcome::Failed(refusal) if self.nothing_was_placed() => Change::to(State::Failed)
                .refused(refusal)
                .because("its commit was refused, and it can't be read: nothing was placed"),
            ReadOutcome::Failed(refusal) => Change::to(State::Held)
                .refused(refusal)
                .because("it can't be read back, so whether an order stands is for you to find out"),
            ReadOutcome::Retry { why, .. } => self.read_again(&format!("reading back failed: {why}")),
            ReadOutcome::NotSent(why) => self.read_again(&format!("reading back failed: not sent: {why}")),
            ReadOutcome::Throttled(refusal) => {
                self.in_doubt(Duration::ZERO, &format!("reading back failed: {refusal}"))
            }
            ReadOutcome::Account(refusal) | ReadOutcome::Denied(refusal) => {
                self.read_again(&format!("reading back isn't permitted: {refusal}"))
            }
        }
    }

    fn after_reading(&self, reading: &Reading) -> Change {
        match reading.verdict() {
            Verdict::Committed => {
                Change { resolved_by: Some(ResolvedBy::Readback), ..Change::to(State::Submitted) }.read(reading)
            }
            Verdict::NotCommitted if self.row.evidence.placed => self.hold(reading, "although its order is on record"),
            Verdict::NotCommitted if self.was_refused_for_its_status() => self.after_contradiction(reading),
            Verdict::DeadEnd if self.was_answered() => Change::to(State::Failed)
                .read(reading)
                .because(&format!("its status doesn't allow a commit: read back as {}", reading.describe())),
            Verdict::NotCommitted => self.after_negative_reading(reading),
            Verdict::DeadEnd => self.hold(reading, "a status that leads nowhere"),
            Verdict::Unclear => self.hold(reading, "which doesn't tell whether the order stands"),
        }
    }

    /// A refusal for the status, and a status that allows a commit, contradict each other. The read may lag behind,
    /// and the refusal may be for an order that stands.
    fn after_contradiction(&self, reading: &Reading) -> Change {
        let unsettled = self.policy.verify.settle.saturating_sub(self.row.evidence.age);
        if unsettled.is_zero() {
            return self.hold(reading, "although a commit was refused for its status");
        }
        let seen = reading.describe();
        self.in_doubt(unsettled, &format!("refused for its status, but read back as {seen}; read once more"))
    }

    fn after_negative_reading(&self, reading: &Reading) -> Change {
        let after = self.after_one_more_negative_read();
        let spent = self.row.tries >= self.policy.retry.max_tries;
        if spent && after.last_commit.is_some_and(|last| last != CommitClass::InDoubt) && after.is_disproved() {
            return self.give_up(reading);
        }
        let too_young = self.policy.verify.resend_after.saturating_sub(self.row.evidence.age);
        let seen = format!("read back as {}", reading.describe());
        if after.negative_reads < NEGATIVE_READS_TO_RESEND || !too_young.is_zero() {
            return self.in_doubt(too_young, &format!("{seen}; read once more before it is sent again"));
        }
        if spent {
            return self.give_up(reading);
        }
        Change::to(State::Pending).because(&format!("{seen} twice, so nothing was placed; it is sent again"))
    }

    fn after_one_more_negative_read(&self) -> Evidence {
        let evidence = &self.row.evidence;
        evidence.with_read(ReadClass::NotCommitted, evidence.age, &self.policy.verify)
    }

    fn give_up(&self, reading: &Reading) -> Change {
        let reason = format!("gave up after {} tries; read back as {}", self.row.tries, reading.describe());
        Change::to(State::Failed).read(reading).because(&reason)
    }

    /// A pending row was read before it is sent again.
    fn after_read_first(&self, outcome: &ReadOutcome) -> Change {
        match outcome {
            ReadOutcome::Seen(reading) if reading.verdict() == Verdict::NotCommitted => {
                self.after_negative_read_first(reading)
            }
            ReadOutcome::Seen(reading) => {
                Change::to(State::InDoubt).because(&format!("read before the next try as {}", reading.describe()))
            }
            ReadOutcome::Failed(refusal) => {
                Change::to(State::InDoubt).because(&format!("can't be read before the next try: {refusal}"))
            }
            ReadOutcome::Retry { why, .. } | ReadOutcome::NotSent(why) => {
                Change { due_in: self.backoff(self.row.evidence.reads + 1), ..Change::to(State::Pending) }
                    .because(&format!("waits to be read before the next try: {why}"))
            }
            ReadOutcome::Throttled(refusal) | ReadOutcome::Account(refusal) | ReadOutcome::Denied(refusal) => {
                Change { due_in: self.backoff(self.row.evidence.reads + 1), ..Change::to(State::Pending) }
                    .because(&format!("waits to be read before the next try: {refusal}"))
            }
        }
    }

    fn after_negative_read_first(&self, reading: &Reading) -> Change {
        let seen = reading.describe();
        let after = self.after_one_more_negative_read();
        if !after.needs_read() {
            return Change::to(State::Pending).because(&format!("read as {seen}; tries again"));
        }
        let policy = &self.policy.verify;
        let no_earlier = if after.is_in_doubt() { policy.resend_after } else { policy.settle };
        let due_in = no_earlier.saturating_sub(after.age);
        self.in_doubt(due_in, &format!("read before the next try as {seen}, which doesn't settle it; read once more"))
    }

    /// Whether the server answered the newest commit with a refusal, and no other one is open: then a status that
    /// leads nowhere says that nothing was placed.
    fn was_answered(&self) -> bool {
        use CommitClass::{Denied, Failed, StatusRefused};
        let evidence = &self.row.evidence;
        let answered = matches!(evidence.last_commit, Some(Denied | Failed | StatusRefused));
        answered && !evidence.earlier_in_doubt && !evidence.placed
    }

    /// Whether the server refused the newest commit for good, and no other one is open.
    fn nothing_was_placed(&self) -> bool {
        let refused = matches!(self.row.evidence.last_commit, Some(CommitClass::Denied | CommitClass::Failed));
        refused && self.was_answered()
    }

    fn was_refused_for_its_status(&self) -> bool {
        let evidence = &self.row.evidence;
        // A row that was set to pending by hand has no tries: the refusal is history.
        let of_this_life = self.row.tries > 0;
        of_this_life && evidence.last_commit == Some(CommitClass::StatusRefused)
    }

    fn read_again(&self, reason: &str) -> Change {
        self.in_doubt(self.backoff(self.row.evidence.reads + 1), reason)
    }

    fn in_doubt(&self, due_in: Duration, reason: &str) -> Change {
        Change { due_in, ..Change::to(State::InDoubt) }.because(reason)
    }

    fn hold(&self, reading: &Reading, meaning: &str) -> Change {
        Change::to(State::Held).read(reading).because(&format!("read back as {}, {meaning}", reading.describe()))
    }

    fn backoff(&self, failures: u32) -> Duration {
        self.policy.retry.backoff(failures, self.dice)
    }
}

impl Change {
    fn to(state: State) -> Self {
        Self {
            to: state,
            spends_try: false,
            due_in: Duration::ZERO,
            order_id: None,
            status: None,
            request_id: None,
            error: None,
            reason: None,
            resolved_by: None,
        }
    }

    fn because(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    fn refused(self, refusal: &Refusal) -> Self {
        Self {
            error: Some((refusal.code.clone(), refusal.message.clone())),
            request_id: refusal.request_id.clone(),
            ..self
        }
    }

    fn read(self, reading: &Reading) -> Self {
        Self {
            order_id: reading.order_id.clone(),
            status: reading.status,
            request_id: reading.request_id.clone(),
            ..self
        }
    }
}
