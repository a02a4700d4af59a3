//! Why the daemon sends no commits, or no readbacks: one place that asks every component.

use super::credentials::CredentialStore;
use super::dispatcher::Dispatcher;
use super::rejected_writes::RejectedWrites;
use crate::cause::Incident;
use crate::clock::Now;
use crate::queue::{Control, Mode};
use crate::submission::RequestKind;

/// Everything that may pause the daemon.
#[derive(Debug)]
pub(super) struct Pause<'a> {
    /// What operators ask for.
    pub(super) control: &'a Control,
    /// Why there are no good credentials, if there are none.
    pub(super) credentials: Option<Incident>,
    /// What the queue's rules reject, and whether that stops the sending.
    pub(super) rejected: Option<(Incident, bool)>,
    /// Why no commits go out.
    pub(super) commits: Option<Incident>,
    /// Why no readbacks go out.
    pub(super) readbacks: Option<Incident>,
}

impl<'a> Pause<'a> {
    /// The present state of the components.
    pub(super) fn of(
        control: &'a Control,
        credentials: &CredentialStore,
        rejected: &RejectedWrites,
        dispatcher: &Dispatcher,
        now: Now,
    ) -> Self {
        let breaker = |kind| dispatcher.pipeline(kind).breaker.incident(now);
        Self {
            control,
            credentials: credentials.incident(now),
            rejected: rejected.incident(now).map(|incident| (incident, rejected.stops_sending())),
            commits: breaker(RequestKind::Commit),
            readbacks: breaker(RequestKind::Readback),
        }
    }

    /// The mode, unless the daemon is stopping.
    pub(super) fn mode(&self) -> Mode {
        let fault = self.credentials.is_some() || self.commits.is_some() || self.stops_sending();
        match (self.control.paused, fault) {
            (true, _) => Mode::PausedByOperator,
            (false, true) => Mode::PausedByFault,
            (false, false) => Mode::Running,
        }
    }

    /// Whether rejected writes stop the sending.
    fn stops_sending(&self) -> bool {
        self.rejected.as_ref().is_some_and(|(_, stops)| *stops)
    }

    /// What stops commits or readbacks, the first to act on first. An operator's pause comes before all.
    pub(super) fn incidents(self) -> Vec<Incident> {
        let stops = self.stops_sending();
        let rejected = self.rejected.map(|(incident, _)| incident);
        let (stopped, rejected) = if stops { (rejected, None) } else { (None, rejected) };
        let by_operator = self.control.incident();
        [by_operator, stopped, self.credentials, self.commits, rejected, self.readbacks].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{ApiError, PauseCause};

    #[test]
    fn the_cause_that_an_operator_has_to_act_on_first_is_shown_first() {
        let paused = Control { paused: true, ..Control::default() };
        let error = ApiError::new("A.B", "no", None);
        let incident = |cause: PauseCause| Incident::new(cause, None);
        let credentials = incident(PauseCause::NoCredentials { why: None });
        let rejected = incident(PauseCause::WritesRejected { results: 1, submissions: 0, rule: "no".into() });
        let commits = incident(PauseCause::CaBusy { error: error.clone() });
        let readbacks = incident(PauseCause::ReadbackDenied { error });
        let all = |control, stops| Pause {
            control,
            credentials: Some(credentials.clone()),
            rejected: Some((rejected.clone(), stops)),
            commits: Some(commits.clone()),
            readbacks: Some(readbacks.clone()),
        };
        let running = Control::default();
        let without_credentials = Pause { credentials: None, ..all(&running, false) };
        let only_slower = || Pause { credentials: None, commits: None, ..all(&running, false) };
        let (fault, running_mode) = (Mode::PausedByFault, Mode::Running);
        for (pause, mode, code) in [
            (all(&paused, true), Mode::PausedByOperator, "paused_by_operator"),
            (all(&running, true), fault, "writes_rejected"),
            (all(&running, false), fault, "no_credentials"),
            (without_credentials, fault, "ca_busy"),
            (only_slower(), running_mode, "writes_rejected"),
            (Pause { rejected: None, ..only_slower() }, running_mode, "readback_denied"),
        ] {
            assert_eq!(
                (pause.mode(), pause.incidents().first().map(|incident| incident.cause.code())),
                (mode, Some(code))
            );
        }
        let none = Pause { rejected: None, readbacks: None, ..only_slower() };
        assert_eq!((none.mode(), none.incidents().first()), (running_mode, None));
    }
}
