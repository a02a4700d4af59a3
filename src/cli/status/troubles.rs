//! What is wrong: for each trouble why, since when, what probes found, what it means for the submissions, and what to do. Pure.

use super::diagnosis::{Condition, Diagnosis};
use crate::cause::{Cause, Probes};
use crate::clock::UnixMillis;
use crate::queue::{IncidentRow, QueueError, besides};
use crate::submission::State;

/// For a cause that the daemon knows, but this version doesn't.
const REMEDY_OF_UNKNOWN_CAUSE: &str = "remove the cause; then: certcommit resume";
const START: &str = "systemctl start certcommit; or see: systemctl status certcommit";
const RESTART: &str = "see why it ended: journalctl -u certcommit -n 50; then: systemctl start certcommit";
const UNRECORDED_END: &str = "the last run did not record its end: it was killed, it crashed, or it could not write, which its log \
     says";
const HANGS: &str = "see what it logged last: journalctl -u certcommit -n 50. The database can be written, so the daemon hangs; to restart it \
     loses nothing: systemctl restart certcommit";

/// A trouble.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trouble {
    /// The code of the cause, if there is one.
    pub(super) code: Option<String>,
    /// Why. None: the first line of `status` says it.
    pub(super) why: Option<String>,
    /// Since when.
    pub(super) since: Option<UnixMillis>,
    /// What probes found.
    pub(super) probes: Option<Probes>,
    /// What it means for the submissions.
    pub(super) meanwhile: Option<String>,
    /// What to do.
    pub(super) todo: Option<String>,
}

impl Diagnosis {
    /// Everything that is wrong, the first to deal with first.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let condition = self.condition();
        if !self.flaws.is_empty() {
            return vec![self.altered()];
        }
        match condition {
            Condition::PausedByOperator
            | Condition::PausedAtStart
            | Condition::PausedByFault
            | Condition::ReadbackPaused
            | Condition::Running => self.pauses(),
            Condition::Stopping | Condition::Starting => Vec::new(),
            Condition::Silent => vec![Trouble::to_do(HANGS)],
            Condition::Blocked => self.blocks().map(|obstacle| self.blocked(obstacle)).into_iter().collect(),
            Condition::Stopped | Condition::Died | Condition::NeverRan => {
                let obstacle = self.blocks().map(|obstacle| self.blocked(obstacle));
                obstacle.or_else(|| self.not_running(condition)).into_iter().collect()
            }
        }
    }

    /// No daemon runs, although there is work, or although the last one should still run.
    fn not_running(&self, condition: Condition) -> Option<Trouble> {
        let died = condition == Condition::Died;
        let has_work = self.status.counts.open() > 0;
        (died || has_work).then(|| Trouble {
            why: died.then(|| UNRECORDED_END.to_owned()),
            since: self.last_write(),
            meanwhile: has_work.then(|| self.without_a_daemon()),
            todo: Some(if died { RESTART } else { START }.to_owned()),
            ..Trouble::default()
        })
    }

    /// What it means for the certificates that no daemon runs.
    fn without_a_daemon(&self) -> String {
        let [pending, in_flight, in_doubt] =
            [State::Pending, State::InFlight, State::InDoubt].map(|state| self.status.counts.of(state));
        let others = in_flight + in_doubt;
        let perhaps = if others == 0 {
            String::new()
        } else {
            format!(", {others} perhaps ordered (results that came are in the log)")
        };
        format!(
            "nothing is sent. {pending} pending{perhaps}: nothing is lost, and the next run reads back what may have been ordered before \
             it sends it again"
        )
    }

    /// Rules are missing or altered: the line `damage` names them.
    fn altered(&self) -> Trouble {
        let todo = if self.alive {
            "stop the daemon; then, as its user: certcommit check --repair; then start it again"
        } else {
            "as the daemon's user: certcommit check --repair; then start the daemon"
        };
        let meanwhile = "nothing is sent until it is repaired. Nothing is lost, and what has no result is read back before it is sent \
                         again. Keep the tool away that altered the schema";
        Trouble {
            code: Some("schema_altered".to_owned()),
            since: self.last_write(),
            meanwhile: Some(meanwhile.to_owned()),
            todo: Some(todo.to_owned()),
            ..Trouble::default()
        }
    }

    /// When the daemon last wrote.
    fn last_write(&self) -> Option<UnixMillis> {
        self.status.last_write_at.filter(|at| *at > 0).map(UnixMillis)
    }

    /// What keeps a daemon from working on the database.
    fn blocked(&self, obstacle: &QueueError) -> Trouble {
        let in_flight = self.status.counts.of(State::InFlight);
        let meanwhile = format!(
            "nothing is sent. {in_flight} are in flight: the daemon keeps their results in memory until it can write them, so don't kill \
             it; systemctl stop is safe. Nothing is lost, and what has no result is read back before it is sent again"
        );
        Trouble {
            code: Some(obstacle.code().to_owned()),
            why: Some(obstacle.to_string()),
            since: self.last_write(),
            meanwhile: Some(if self.alive { meanwhile } else { self.without_a_daemon() }),
            todo: obstacle.remedy().map(|remedy| remedy.into_owned()),
            probes: None,
        }
    }

    /// What pauses commits or readbacks: the operators' pause, and what the daemon reports.
    fn pauses(&self) -> Vec<Trouble> {
        let control = &self.status.control;
        let by_control = control.cause().map(|cause| {
            let todo = match &cause {
                Cause::Pause(cause) if self.is_verified() => cause.remedy_once_verified(),
                Cause::Pause(_) | Cause::Row(_) | Cause::Database(_) => cause.remedy(),
            };
            Trouble {
                code: Some(cause.code().to_owned()),
                why: Some(cause.to_string()),
                since: control.paused_at.map(UnixMillis::of_seconds),
                probes: None,
                meanwhile: self.consequence(&cause),
                todo: Some(todo),
            }
        });
        let reported = besides(control, &self.status.incidents).map(|row| self.reported(row));
        by_control.into_iter().chain(reported).collect()
    }

    fn reported(&self, row: &IncidentRow) -> Trouble {
        let cause = row.cause();
        let todo = cause.as_ref().map_or_else(|| REMEDY_OF_UNKNOWN_CAUSE.to_owned(), Cause::remedy);
        Trouble {
            code: Some(row.code.as_str().to_owned()),
            why: Some(row.why.as_str().to_owned()),
            since: row.since.map(UnixMillis::of_seconds),
            probes: Some(row.found()).filter(|probes| *probes != Probes::default()),
            meanwhile: cause.and_then(|cause| self.consequence(&cause)),
            todo: Some(todo),
        }
    }

    /// What a pause means for the submissions.
    fn consequence(&self, cause: &Cause) -> Option<String> {
        match cause {
            Cause::Pause(cause) => {
                let count = |state: State| Some((state, self.status.counts.of(state))).filter(|(_, count)| *count > 0);
                let counts = [State::Pending, State::InFlight, State::InDoubt].into_iter().filter_map(count);
                let counts = counts.map(|(state, count)| format!("{count} {}", state.as_str().replace('_', " ")));
                let counts = counts.collect::<Vec<_>>().join(", ");
                let before = if counts.is_empty() { String::new() } else { format!("{counts}: ") };
                Some(before + cause.consequence())
            }
            Cause::Row(_) | Cause::Database(_) => None,
        }
    }

    /// Whether everything that was pending has been marked to be read back since the pause began.
    fn is_verified(&self) -> bool {
        let control = &self.status.control;
        control.verified_at.zip(control.paused_at).is_some_and(|(verified, paused)| verified >= paused)
    }
}

impl Trouble {
    /// One that the first line of `status` explains.
    fn to_do(what: &str) -> Self {
        Self { todo: Some(what.to_owned()), ..Self::default() }
    }
}
