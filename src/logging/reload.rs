//! The level, which can change while the process runs.

use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};

use super::{LoggingError, Output, parse_level};

/// Makes what a subscriber does with events, at a level.
type Outputs = Box<dyn Fn(Level) -> Output + Send + Sync>;

/// The level of the process's log.
pub struct LogLevel {
    output: Handle<Output, Registry>,
    outputs: Outputs,
}

impl LogLevel {
    /// From now on, the log has this level: one of [`LEVELS`](crate::config::LEVELS).
    ///
    /// # Errors
    /// When there is no such level; that of before stays.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        let level = parse_level(level)?;
        Ok(self.output.reload((self.outputs)(level))?)
    }
}

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogLevel")
    }
}

/// A subscriber that begins with this level, and what changes it.
pub(super) fn subscriber(
    level: Level,
    outputs: impl Fn(Level) -> Output + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync, LogLevel) {
    let (output, handle) = reload::Layer::new(outputs(level));
    (registry().with(output), LogLevel { output: handle, outputs: Box::new(outputs) })
}
