//! Reloading: the daemon adopts other settings while it runs, and no request is lost.

use std::fmt;
use std::future::pending;

use tokio::sync::watch;

use super::credentials::CredentialSource;
use crate::config::{ChangedSetting, ConfigError, Settings};
use crate::logging::{LevelControl, LogEvent};

/// What the daemon needs to reload its configuration.
pub struct Reloading {
    /// Changes with each request to reload.
    pub asked: watch::Receiver<()>,
    /// Reads the settings again, with the source of credentials that they name.
    pub read: Box<dyn FnMut() -> Result<(Settings, CredentialSource), ConfigError> + Send>,
    /// Applies `log.level`.
    pub level: LevelControl,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloading")
    }
}

impl Reloading {
    /// Reads the configuration again, and adopts what can change while the daemon runs. Returns the source of credentials;
    /// none if the configuration can't be read or is invalid: then nothing changes.
    pub(super) fn apply(&mut self, settings: &mut Settings) -> Option<CredentialSource> {
        match (self.read)() {
            Ok((read, source)) => {
                log_changes(&settings.adopt(read));
                if let Err(error) = self.level.set(settings.log.level) {
                    tracing::warn!("log.level stays as it was: {error}");
                }
                Some(source)
            }
            Err(error) => {
                tracing::error!(
                    event = LogEvent::Reloaded.as_str(),
                    %error,
                    "the configuration is not reloaded: {error}. Keeping the previous settings; fix it, and reload",
                );
                None
            }
        }
    }
}

/// Waits for a request to reload; for ever, if none can come.
pub(super) async fn asked(reloading: &mut Option<Reloading>) {
    let Some(reloading) = reloading else { return pending().await };
    if reloading.asked.changed().await.is_err() {
        pending().await
    }
}

/// Logs a successful reload.
fn log_changes(changes: &[ChangedSetting]) {
    let describe = |ChangedSetting { key, from, to, .. }: &ChangedSetting| format!("{key} from {from:?} to {to:?}");
    let listed = |needs_restart: bool| {
        let listed = changes.iter().filter(|change| change.needs_restart == needs_restart).map(describe);
        listed.collect::<Vec<_>>().join(", ")
    };
    let (changed, restart_needed) = (listed(false), listed(true));
    let what = if changed.is_empty() { "nothing has changed" } else { &changed };
    let later = match restart_needed.as_str() {
        "" => String::new(),
        later => format!("; a restart applies {later}"),
    };
    tracing::info!(
        event = LogEvent::Reloaded.as_str(),
        changed = Some(changed.as_str()).filter(|changed| !changed.is_empty()),
        restart_needed = Some(restart_needed.as_str()).filter(|needed| !needed.is_empty()),
        "reloaded the configuration: {what}{later}. The credentials are asked for again",
    );
}
