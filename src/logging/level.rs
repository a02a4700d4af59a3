//! The level of the log, which can change while the process runs.

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};

use crate::named_enum::named_enum;

/// The target of certcommit's own events starts with this.
const OWN_TARGET: &str = "certcommit";

named_enum! {
    /// `log.level`: the least urgent events that are logged.
    #[derive(PartialOrd, Ord)]
    pub enum LogLevel {
        /// What needs attention now.
        Error = "error",
        /// What needs attention eventually.
        Warn = "warn",
        /// Normal operation.
        Info = "info",
        /// For developers, with the warnings of libraries.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

impl LogLevel {
    /// Libraries log for developers: certcommit itself logs what matters to operators.
    pub(super) fn filter(self) -> Targets {
        let (own, libraries) = match self {
            Self::Error => (Level::ERROR, LevelFilter::OFF),
            Self::Warn => (Level::WARN, LevelFilter::OFF),
            Self::Info => (Level::INFO, LevelFilter::OFF),
            Self::Debug => (Level::DEBUG, LevelFilter::WARN),
            Self::Trace => (Level::TRACE, LevelFilter::TRACE),
        };
        Targets::new().with_default(libraries).with_target(OWN_TARGET, own)
    }
}

/// Which events are logged, where, and in which format.
pub(super) type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// Makes the output for a level.
type MakeOutput = Box<dyn Fn(LogLevel) -> Output + Send + Sync>;

/// Changes the level of the process's log.
pub struct LevelControl {
    output: Handle<Output, Registry>,
    make_output: MakeOutput,
}

/// The level of the log could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("can't change the level of the log: {0}")]
pub struct LevelUnchanged(#[from] reload::Error);

impl LevelControl {
    /// Sets the level from now on.
    ///
    /// # Errors
    /// When the log is no longer set up; the level stays.
    pub fn set(&self, level: LogLevel) -> Result<(), LevelUnchanged> {
        Ok(self.output.reload((self.make_output)(level))?)
    }
}

impl std::fmt::Debug for LevelControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LevelControl")
    }
}

/// A subscriber that starts at this level, and what changes it.
pub(super) fn subscriber(
    level: LogLevel,
    make_output: impl Fn(LogLevel) -> Output + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync, LevelControl) {
    let (output, handle) = reload::Layer::new(make_output(level));
    (registry().with(output), LevelControl { output: handle, make_output: Box::new(make_output) })
}
