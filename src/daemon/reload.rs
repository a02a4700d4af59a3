//! Reloading: other settings come into force while the daemon runs, and no request is lost for it.

use std::fmt;

use tokio::sync::watch;

use super::CredentialSource;
use super::gate::GatePolicy;
use super::lane::LaneSettings;
use super::worker::Worker;
use crate::clock::Now;
use crate::config::{ChangedSetting, ConfigError, Settings};
use crate::logging::{LevelControl, LogEvent};
use crate::pacing::Limits;

/// What the daemon needs to reload its configuration.
pub struct Reloading {
    /// Changes whenever somebody asks for it.
    pub asked: watch::Receiver<()>,
    /// Reads the settings anew, and says where the credentials come from by them.
    pub read: Box<dyn FnMut() -> Result<(Settings, CredentialSource), ConfigError> + Send>,
    /// What `log.level` sets.
    pub level: LevelControl,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloading")
    }
}

impl Worker {
    /// Reads the configuration anew. What can't be read or isn't good changes nothing.
    pub(super) fn reload(&mut self, now: Now) {
        let Some(reloading) = &mut self.reloading else {
            return;
        };
        self.watchers.reloading();
        match (reloading.read)() {
            Ok((settings, source)) => self.adopt(settings, source, now),
            Err(error) => tracing::error!(
                event = LogEvent::Reloaded.as_str(),
                %error,
                "the configuration is not reloaded: {error}. The settings of before stay in force; mend it, and reload",
            ),
        }
        self.watchers.ready();
    }

    fn adopt(&mut self, settings: Settings, source: CredentialSource, now: Now) {
        let changes = self.settings.adopt(settings);
        self.policy = self.settings.policy();
        self.commits.set(commit_lane(&self.settings), now.instant);
        self.reads.set(read_lane(&self.settings), now.instant);
        self.progress.due = self.progress.due.min(now.instant + self.settings.log.progress_interval);
        self.upkeep.pruning.set(self.settings.retention.requests, now.instant);
        self.set_level();
        self.keys.replace(source);
        // Whoever reloads has mended something.
        self.commits.gate.probe_now(now.instant);
        self.reads.gate.probe_now(now.instant);
        tell(&changes);
    }

    fn set_level(&self) {
        let level = self.reloading.as_ref().map(|reloading| reloading.level.set(self.settings.log.level));
        if let Some(Err(error)) = level {
            tracing::warn!("log.level stays as it was: {error}");
        }
    }
}

/// The one line about a reload that was good.
fn tell(changes: &[ChangedSetting]) {
    let describe = |ChangedSetting { key, from, to, .. }: &ChangedSetting| format!("{key} from {from:?} to {to:?}");
    let listed = |needs_restart: bool| {
        let told = changes.iter().filter(|change| change.needs_restart == needs_restart).map(describe);
        told.collect::<Vec<_>>().join(", ")
    };
    let (changed, restart_needed) = (listed(false), listed(true));
    let what = if changed.is_empty() { "nothing has changed" } else { &changed };
    let later = match restart_needed.as_str() {
        "" => String::new(),
        later => format!("; only a restart brings {later}"),
    };
    tracing::info!(
        event = LogEvent::Reloaded.as_str(),
        changed = Some(changed.as_str()).filter(|changed| !changed.is_empty()),
        restart_needed = Some(restart_needed.as_str()).filter(|needed| !needed.is_empty()),
        "reloaded the configuration: {what}{later}. The credentials are asked for anew",
    );
}

/// The lane of commits by the settings.
pub(super) fn commit_lane(settings: &Settings) -> LaneSettings {
    lane(settings, settings.rate.per_second)
}

/// The lane of reads by the settings.
pub(super) fn read_lane(settings: &Settings) -> LaneSettings {
    lane(settings, settings.verify.per_second)
}

fn lane(settings: &Settings, per_second: u32) -> LaneSettings {
    LaneSettings {
        limits: Limits { per_second, guard: settings.rate.guard },
        gate: GatePolicy {
            after: settings.pause.after,
            probe_initial: settings.pause.probe_initial,
            probe_max: settings.pause.probe_max,
        },
        max_in_flight: settings.worker.max_in_flight,
    }
}
