//! A small model of the world in virtual time, against which the state machine keeps its promises: one
//! certificate at a server, a network that loses and delays, an API that errs, and a daemon that crashes.
//!
//! Two risks that the API leaves are not in the model: a backend that answers in error and acts only after the
//! read that follows, and one that answers in error, acts, and may not be read.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A signature lives this long: nothing signed earlier is executed any more.
const SIGNATURE_LIVES: u64 = 300;

/// How a commit fares.
#[derive(Debug, Clone)]
enum Fate {
    Answered,
    LostBefore,
    LostAfter,
    /// The client sees it lost; it lands this many seconds after the signing.
    Late(u64),
    Refused(CommitClass),
    /// Answered with an error of this class, though the order is placed.
    RefusedAfter(CommitClass),
}

/// When the daemon dies with a commit, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    BeforeSending,
    AfterSending,
}

/// How a read fares.
#[derive(Debug, Clone)]
enum Glimpse {
    True,
    Fails(ReadClass),
    Crash,
}

/// What happens next.
#[derive(Debug, Clone)]
struct Step {
    /// How much later than due the daemon comes to it, in seconds.
    dawdle: u64,
    commit: Fate,
    crash: Crash,
    read: Glimpse,
    dice: f64,
}

#[derive(Debug, Clone)]
enum Entry {
    Commit { class: CommitClass, run: u32, signed: u64 },
    Read(ReadClass),
}

#[derive(Debug)]
struct World {
    policy: Policy,
    now: u64,
    run: u32,
    run_began: u64,
    state: State,
    tries: u32,
    due: u64,
    record: Vec<Entry>,
    order_stands: bool,
    orders: u32,
    counted: u32,
    /// Commits that are still under way to the server: when they land.
    under_way: Vec<u64>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: 1000,
            run: 1,
            run_began: 1000,
            state: State::Pending,
            tries: 0,
            due: 1000,
            record: Vec::new(),
            order_stands: false,
            orders: 0,
            counted: 0,
            under_way: Vec::new(),
        }
    }

    fn evidence(&self) -> Evidence {
        let newest = self.record.iter().rposition(|entry| matches!(entry, Entry::Commit { .. }));
        let since = &self.record[newest.map_or(0, |index| index + 1)..];
        let before = &self.record[..newest.unwrap_or(0)];
        let reads = |class| since.iter().filter(|entry| matches!(entry, Entry::Read(seen) if *seen == class)).count();
        let (last_commit, signed) = match newest.map(|index| &self.record[index]) {
            Some(Entry::Commit { class, run, signed }) if *run == self.run => (Some(*class), *signed),
            Some(Entry::Commit { class, .. }) => (Some(*class), self.run_began),
            _ => (None, self.run_began),
        };
        let mut negative = 0;
        let mut earlier_in_doubt = false;
        for entry in before.iter().rev() {
            match entry {
                Entry::Read(ReadClass::NotCommitted) => negative += 1,
                Entry::Read(_) => {}
                Entry::Commit { class, .. } => {
                    earlier_in_doubt |= *class == CommitClass::InDoubt && negative < 2;
                    negative = 0;
                }
            }
        }
        Evidence {
            last_commit,
            age: Duration::from_secs(self.now - signed),
            negative_reads: u32::try_from(reads(ReadClass::NotCommitted)).unwrap(),
            reads: u32::try_from(since.len()).unwrap(),
            read_denied: reads(ReadClass::Denied) > 0,
            earlier_in_doubt,
        }
    }

    /// The daemon comes to the row, and what is to happen happens.
    fn step(&mut self, step: &Step) {
        self.now = self.now.max(self.due) + step.dawdle;
        self.land();
        let evidence = self.evidence();
        match self.state {
            State::Pending if evidence.wants_read_first() => self.read(step, evidence),
            State::Pending => self.commit(step, evidence),
            State::InDoubt => self.read(step, evidence),
            State::InFlight | State::Submitted | State::Failed | State::Held | State::Canceled => {}
        }
    }

    fn land(&mut self) {
        let now = self.now;
        let landed = self.under_way.iter().filter(|at| **at <= now).count();
        self.under_way.retain(|at| *at > now);
        (0..landed).for_each(|_| self.execute());
    }

    fn execute(&mut self) {
        if !self.order_stands {
            self.order_stands = true;
            self.orders += 1;
        }
    }

    fn commit(&mut self, step: &Step, evidence: Evidence) {
        self.state = State::InFlight;
        let row = Row { state: State::InFlight, tries: self.tries, evidence };
        if step.crash == Crash::BeforeSending {
            return self.crash(&row);
        }
        assert!(!self.order_stands, "sent again although the order stands: {self:?}");
        assert!(self.under_way.is_empty(), "sent again while a commit is under way: {self:?}");
        self.counted += 1;
        let outcome = self.send(&step.commit);
        if step.crash == Crash::AfterSending {
            return self.crash(&row);
        }
        let class = outcome.class();
        self.counted -= u32::from(!class.spends_a_try());
        self.record.push(Entry::Commit { class, run: self.run, signed: self.now });
        self.apply(&row, &Event::Commit(outcome), step.dice);
    }

    fn send(&mut self, fate: &Fate) -> CommitOutcome {
        let lost = || CommitOutcome::InDoubt { why: "lost".into(), refusal: None };
        match fate {
            Fate::Answered => {
                self.execute();
                CommitOutcome::Submitted(Receipt { order_id: "SO1".into(), status: 8, request_id: None })
            }
            Fate::LostBefore => lost(),
            Fate::LostAfter => {
                self.execute();
                lost()
            }
            Fate::Late(seconds) => {
                self.under_way.push(self.now + (*seconds).min(SIGNATURE_LIVES));
                lost()
            }
            Fate::Refused(class) => refused(*class),
            Fate::RefusedAfter(class) => {
                self.execute();
                refused(*class)
            }
        }
    }

    fn read(&mut self, step: &Step, evidence: Evidence) {
        let row = Row { state: self.state, tries: self.tries, evidence };
        let outcome = match step.read {
            Glimpse::Crash => {
                // An unfinished read proves nothing.
                self.record.push(Entry::Read(ReadClass::Retry));
                return self.restart();
            }
            Glimpse::True => ReadOutcome::Seen(Reading {
                order_id: self.order_stands.then(|| "SO1".to_owned()),
                status: Some(if self.order_stands { 8 } else { 13 }),
                request_id: None,
            }),
            Glimpse::Fails(class) => failed_read(class),
        };
        self.record.push(Entry::Read(outcome.class()));
        self.apply(&row, &Event::Read(outcome), step.dice);
    }

    /// The daemon dies with the row in flight, and starts again.
    fn crash(&mut self, row: &Row) {
        self.record.push(Entry::Commit { class: CommitClass::InDoubt, run: self.run, signed: self.now });
        self.restart();
        self.apply(row, &Event::Interrupted, 0.0);
    }

    fn restart(&mut self) {
        self.now += 1;
        self.run += 1;
        self.run_began = self.now;
    }

    fn apply(&mut self, row: &Row, event: &Event, dice: f64) {
        let change = next_state(row, event, &self.policy, dice).unwrap();
        assert!(change.to == row.state || row.state.may_become(change.to), "{:?} to {:?}", row.state, change.to);
        if change.to == State::Pending && row.state == State::InDoubt {
            let evidence = self.evidence();
            assert!(evidence.negative_reads >= 2 && evidence.age >= self.policy.verify.resend_after, "{self:?}");
        }
        self.state = change.to;
        self.tries += u32::from(change.spends_try);
        self.due = self.now + change.due_in.as_secs() + u64::from(change.due_in.subsec_nanos() > 0);
    }

    fn is_open(&self) -> bool {
        self.state.is_open()
    }
}

fn refused(class: CommitClass) -> CommitOutcome {
    let refusal = Refusal { code: "Code".into(), message: "message".into(), request_id: None };
    match class {
        CommitClass::Retry => CommitOutcome::Retry(refusal),
        CommitClass::BackendError => CommitOutcome::BackendError(refusal),
        CommitClass::Throttled => CommitOutcome::Throttled(refusal),
        CommitClass::Account => CommitOutcome::Account(refusal),
        CommitClass::Denied => CommitOutcome::Denied(refusal),
        CommitClass::Failed => CommitOutcome::Failed(refusal),
        CommitClass::StatusRefused => CommitOutcome::StatusRefused(refusal),
        CommitClass::NotSent => CommitOutcome::NotSent("unreachable".into()),
        CommitClass::InDoubt | CommitClass::Submitted => {
            CommitOutcome::InDoubt { why: "the server erred".into(), refusal: Some(refusal) }
        }
    }
}

fn failed_read(class: ReadClass) -> ReadOutcome {
    let refusal = Refusal { code: "Code".into(), message: "message".into(), request_id: None };
    match class {
        ReadClass::Throttled => ReadOutcome::Throttled(refusal),
        ReadClass::Account => ReadOutcome::Account(refusal),
        ReadClass::NotSent => ReadOutcome::NotSent("unreachable".into()),
        ReadClass::Denied => ReadOutcome::Denied(refusal),
        ReadClass::Failed => ReadOutcome::Failed(refusal),
        ReadClass::Retry | ReadClass::Committed | ReadClass::NotCommitted | ReadClass::DeadEnd | ReadClass::Unclear => {
            ReadOutcome::Retry { why: "cut".into(), refusal: None }
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    let harmless = prop_oneof![
        Just(CommitClass::Retry),
        Just(CommitClass::BackendError),
        Just(CommitClass::Throttled),
        Just(CommitClass::Account),
        Just(CommitClass::NotSent),
        Just(CommitClass::InDoubt),
    ];
    let acting = prop_oneof![Just(CommitClass::BackendError), Just(CommitClass::InDoubt)];
    prop_oneof![
        1 => Just(Fate::Answered),
        3 => Just(Fate::LostBefore),
        2 => Just(Fate::LostAfter),
        2 => (0..=SIGNATURE_LIVES).prop_map(Fate::Late),
        6 => harmless.prop_map(Fate::Refused),
        1 => acting.prop_map(Fate::RefusedAfter),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![8 => Just(Crash::No), 1 => Just(Crash::BeforeSending), 2 => Just(Crash::AfterSending)]
}

fn glimpse() -> impl Strategy<Value = Glimpse> {
    let failure = prop_oneof![
        Just(ReadClass::Retry),
        Just(ReadClass::Throttled),
        Just(ReadClass::Account),
        Just(ReadClass::NotSent)
    ];
    prop_oneof![5 => Just(Glimpse::True), 2 => failure.prop_map(Glimpse::Fails), 1 => Just(Glimpse::Crash)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let dawdle = prop_oneof![Just(0u64), 0..20u64, 0..2000u64];
    let step = (dawdle, fate(), crash(), glimpse(), 0.0..1.0f64).prop_map(|(dawdle, commit, crash, read, dice)| Step {
        dawdle,
        commit,
        crash,
        read,
        dice,
    });
    proptest::collection::vec(step, 1..60)
}

fn policy() -> impl Strategy<Value = Policy> {
    (1u32..10, 1u64..120, SIGNATURE_LIVES + 1..1000).prop_map(|(max_tries, settle, resend_after)| Policy {
        retry: RetryPolicy {
            max_tries,
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
        },
        verify: VerifyPolicy { settle: Duration::from_secs(settle), resend_after: Duration::from_secs(resend_after) },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_placed_twice_and_nothing_is_lost_whatever_happens(policy in policy(), steps in steps()) {
        let mut world = World::new(policy);
        for step in &steps {
            world.step(step);
            prop_assert!(world.orders <= 1, "{world:?}");
        }
        // The faults cease.
        let calm = Step { dawdle: 0, commit: Fate::Answered, crash: Crash::No, read: Glimpse::True, dice: 0.5 };
        for _ in 0..10 {
            world.step(&calm);
        }
        prop_assert!(!world.is_open(), "it comes to no end: {world:?}");
        world.now += SIGNATURE_LIVES;
        world.land();
        prop_assert_eq!(world.orders, u32::from(world.state == State::Submitted), "{:?}", world);
        prop_assert!(matches!(world.state, State::Submitted | State::Failed), "{world:?}");
        prop_assert!(world.counted <= policy.retry.max_tries, "{world:?}");
    }
}
