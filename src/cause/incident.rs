//! An incident: a cause that stops the sending or the reading, and its course.

use std::fmt;

use super::Cause;
use crate::clock::UnixMillis;

/// A cause that stops commits, readbacks or everything, and its course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Why.
    pub cause: Cause,
    /// Since when. None: that isn't on record.
    pub since: Option<UnixMillis>,
    /// What probes have found since then.
    pub probes: Probes,
}

/// The probes of an incident: requests, or questions to the source of the credentials, that test whether it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probes {
    /// How many found that it isn't.
    pub failed: u32,
    /// When the last one ended.
    pub last: Option<UnixMillis>,
    /// When the next one is due. None: one is under way, or nothing probes, and an operator has to end it.
    pub next: Option<UnixMillis>,
}

impl Incident {
    /// An incident that nothing probes.
    #[must_use]
    pub fn new(cause: impl Into<Cause>, since: Option<UnixMillis>) -> Self {
        Self { cause: cause.into(), since, probes: Probes::default() }
    }

    /// Whether it stops only readbacks.
    #[must_use]
    pub fn is_of_readback(&self) -> bool {
        matches!(&self.cause, Cause::Pause(cause) if cause.is_of_readback())
    }
}

impl fmt::Display for Incident {
    /// The cause, since when, and the probes. With absolute times only, so that the text changes only when something happens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if let Some(since) = self.since {
            write!(f, "; since {since}")?;
        }
        if self.probes == Probes::default() { Ok(()) } else { write!(f, "; {}", self.probes) }
    }
}

impl fmt::Display for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failed {
            0 => f.write_str("no probe yet")?,
            1 => f.write_str("1 probe failed")?,
            failed => write!(f, "{failed} probes failed")?,
        }
        if let Some(last) = self.last {
            let which = if self.failed == 1 { "at" } else { "the last at" };
            write!(f, ", {which} {last}")?;
        }
        match self.next {
            Some(next) => write!(f, "; the next at {next}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::PauseCause;

    #[test]
    fn an_incident_says_since_when_and_what_its_probes_found() {
        let at = |minute: i64| Some(UnixMillis((1_764_000_000 + 60 * minute) * 1000));
        let unreachable = PauseCause::ApiUnreachable { why: "refused".into() };
        let incident = Incident::new(unreachable, at(0));
        assert_eq!(incident.to_string(), "the API can't be reached: refused; since 2025-11-24T16:00:00Z");
        for (failed, last, next, expected) in [
            (0, None, at(1), "no probe yet; the next at 2025-11-24T16:01:00Z"),
            (1, at(1), at(3), "1 probe failed, at 2025-11-24T16:01:00Z; the next at 2025-11-24T16:03:00Z"),
            (2, at(3), None, "2 probes failed, the last at 2025-11-24T16:03:00Z"),
        ] {
            assert_eq!(Probes { failed, last, next }.to_string(), expected);
        }
    }
}
