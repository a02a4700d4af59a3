//! The differences between two sets of settings, and which take effect without a restart.

use super::settings::{KEYS, Settings};

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSetting {
    /// The key.
    pub key: &'static str,
    /// The value in force, in the form of the configuration.
    pub from: String,
    /// The new value.
    pub to: String,
    /// Whether it takes effect only after a restart.
    pub needs_restart: bool,
}

impl Settings {
    /// Applies those new settings that can change while the daemon runs, and returns all differences.
    pub fn adopt(&mut self, mut new: Self) -> Vec<ChangedSetting> {
        let changes = differences(self, &new);
        new.database.clone_from(&self.database);
        new.api.clone_from(&self.api);
        new.log.format = self.log.format;
        new.metrics.clone_from(&self.metrics);
        *self = new;
        changes
    }
}

/// Whether a key concerns something that the daemon opens when it starts.
fn needs_restart(key: &str) -> bool {
    key == "log.format" || ["database.", "api.", "metrics."].iter().any(|section| key.starts_with(section))
}

fn differences(from: &Settings, to: &Settings) -> Vec<ChangedSetting> {
    let pairs = KEYS.iter().zip(from.shown()).zip(to.shown());
    let differing = pairs.filter_map(|((&(key, _), from_value), to_value)| {
        // Neither value of a proxy shows its user and password.
        let is_hidden = key == "api.proxy" && from_value == to_value && from.api.proxy != to.api.proxy;
        let to = if is_hidden { format!("{to_value}, with another user or password") } else { to_value };
        let needs_restart = needs_restart(key);
        (from_value != to).then_some(ChangedSetting { key, from: from_value, to, needs_restart })
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::from_text(Path::new("FILE"), text, []).unwrap()
    }

    /// These take effect only after a restart.
    const AFTER_RESTART: [&str; 11] = [
        "database.path",
        "database.unsafe_filesystem",
        "api.endpoint",
        "api.proxy",
        "api.action",
        "api.connect_timeout",
        "api.request_timeout",
        "api.language",
        "log.format",
        "metrics.listen",
        "metrics.page",
    ];

    /// Each key with a value other than its default.
    const OTHERS: [(&str, &str); KEYS.len()] = [
        ("database.path", "other.db"),
        ("database.unsafe_filesystem", "allow"),
        ("api.endpoint", "http://127.0.0.1:80"),
        ("api.proxy", "http://proxy:3128"),
        ("api.action", "CertificateOrderSubmit"),
        ("api.connect_timeout", "6s"),
        ("api.request_timeout", "31s"),
        ("api.language", "zh-CN"),
        ("credentials.source", "file"),
        ("credentials.file", "keys"),
        ("credentials.profile", "other"),
        ("credentials.role", "other"),
        ("rate.per_second", "7"),
        ("rate.guard", "26ms"),
        ("retry.max_tries", "9"),
        ("retry.initial_backoff", "2s"),
        ("retry.max_backoff", "6m"),
        ("verify.settle", "2m"),
        ("verify.resend_after", "11m"),
        ("verify.per_second", "9"),
        ("follow.interval", "10m"),
        ("pause.after", "6"),
        ("pause.probe_initial", "31s"),
        ("pause.probe_max", "16m"),
        ("worker.max_in_flight", "65"),
        ("worker.stop_timeout", "36s"),
        ("log.level", "debug"),
        ("log.format", "json"),
        ("log.progress_interval", "2m"),
        ("metrics.listen", "127.0.0.1:9437"),
        ("metrics.page", "any"),
        ("retention.requests", "90d"),
    ];

    #[test]
    fn each_setting_that_differs_is_returned_with_its_key_and_its_new_value() {
        assert_eq!(OTHERS.map(|(key, _)| key).as_slice(), KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        for (key, other) in OTHERS {
            let value = if other.parse::<u32>().is_ok() { other.to_owned() } else { format!("{other:?}") };
            let rate = if key == "api.action" { "rate.per_second = 20\n" } else { "" };
            let changed = settings(&format!("{rate}{key} = {value}"));
            let changes = differences(&settings(""), &changed);
            let reported: Vec<_> = changes.iter().map(|change| (change.key, change.to.as_str())).collect();
            assert_eq!(reported, [(key, other)]);
        }
    }

    #[test]
    fn a_new_password_of_a_proxy_is_a_change_that_shows_no_password() {
        let with = |password: &str| settings(&format!("api.proxy = \"http://user:{password}@proxy:3128\""));
        let changes = differences(&with("old"), &with("new"));
        let reported: Vec<_> = changes.iter().map(|change| (change.from.as_str(), change.to.as_str())).collect();
        assert_eq!(reported, [("http://***@proxy:3128", "http://***@proxy:3128, with another user or password")]);
        assert_eq!(differences(&with("old"), &with("old")), []);
    }

    #[test]
    fn adopting_applies_what_can_change_and_keeps_reporting_what_needs_a_restart() {
        let every: String = OTHERS.iter().map(|(key, value)| (key, value.parse::<u32>().is_ok(), value)).fold(
            String::new(),
            |text, (key, number, value)| {
                if number { format!("{text}{key} = {value}\n") } else { format!("{text}{key} = \"{value}\"\n") }
            },
        );
        let mut in_force = settings("");
        let changes = in_force.adopt(settings(&every));
        let restart: Vec<_> = changes.iter().filter(|change| change.needs_restart).map(|change| change.key).collect();
        assert_eq!((changes.len(), restart.as_slice()), (KEYS.len(), AFTER_RESTART.as_slice()));
        let again = in_force.adopt(settings(&every));
        assert_eq!(again.iter().map(|change| change.key).collect::<Vec<_>>(), AFTER_RESTART);
        assert!(again.iter().all(|change| change.needs_restart));
    }
}
