//! What differs between two sets of settings, and what of it can change while the daemon runs.

use std::time::Duration;

use super::{KEYS, Settings, values};

/// The keys that count from the next start on: they say what the daemon has open.
const AT_START: [&str; 10] = [
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
];

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// The value in force, as the configuration would have it.
    pub from: String,
    /// The other value.
    pub to: String,
    /// Whether it needs a restart.
    pub at_start: bool,
}

impl Settings {
    /// Takes over from other settings what can change while the daemon runs, and says all that differs.
    pub fn adopt(&mut self, mut other: Self) -> Vec<Change> {
        let changes = differences(self, &other);
        other.database.clone_from(&self.database);
        other.api.clone_from(&self.api);
        other.log.format = self.log.format;
        other.metrics = self.metrics;
        *self = other;
        changes
    }
}

fn differences(from: &Settings, to: &Settings) -> Vec<Change> {
    let pairs = KEYS.iter().zip(values_of(from)).zip(values_of(to));
    // Of a proxy's URL, a user and a password are not shown.
    let hidden = |key: &str, shown: bool| key == "api.proxy" && !shown && from.api.proxy != to.api.proxy;
    let differing = pairs.filter_map(|((&(key, _), from), to)| match (from != to, hidden(key, from != to)) {
        (true, _) => Some((key, from, to)),
        (false, true) => Some((key, from, format!("{to}, with another user or password"))),
        (false, false) => None,
    });
    differing.map(|(key, from, to)| Change { key, from, to, at_start: AT_START.contains(&key) }).collect()
}

/// The value of every key, in the order of [`KEYS`].
fn values_of(settings: &Settings) -> [String; KEYS.len()] {
    let Settings { database, api, credentials, rate, retry, verify, pause, worker, log, metrics, retention } = settings;
    let span = |duration: Duration| values::friendly(duration);
    [
        database.path.display().to_string(),
        database.unsafe_filesystem.as_str().to_owned(),
        api.endpoint.clone(),
        api.proxy.to_string(),
        api.action.as_str().to_owned(),
        span(api.connect_timeout),
        span(api.request_timeout),
        api.language.clone(),
        credentials.source.as_str().to_owned(),
        credentials.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default(),
        credentials.profile.clone(),
        credentials.role.clone().unwrap_or_default(),
        rate.per_second.to_string(),
        span(rate.guard),
        retry.max_tries.to_string(),
        span(retry.initial_backoff),
        span(retry.max_backoff),
        span(verify.settle),
        span(verify.resend_after),
        verify.per_second.to_string(),
        pause.after.to_string(),
        span(pause.probe_initial),
        span(pause.probe_max),
        worker.max_in_flight.to_string(),
        span(worker.stop_timeout),
        log.level.to_string(),
        log.format.as_str().to_owned(),
        span(log.progress_interval),
        metrics.listen.map(|address| address.to_string()).unwrap_or_default(),
        values::days(retention.requests),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::from_text(Path::new("FILE"), text, []).unwrap()
    }

    /// Each key with another value than its default.
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
        ("pause.after", "6"),
        ("pause.probe_initial", "31s"),
        ("pause.probe_max", "16m"),
        ("worker.max_in_flight", "65"),
        ("worker.stop_timeout", "36s"),
        ("log.level", "debug"),
        ("log.format", "json"),
        ("log.progress_interval", "2m"),
        ("metrics.listen", "127.0.0.1:9437"),
        ("retention.requests", "90d"),
    ];

    #[test]
    fn each_key_that_differs_is_told_with_both_values_and_alone() {
        assert_eq!(OTHERS.map(|(key, _)| key).as_slice(), KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        for (key, other) in OTHERS {
            let value = if other.parse::<u32>().is_ok() { other.to_owned() } else { format!("{other:?}") };
            let rate = if key == "api.action" { "rate.per_second = 20\n" } else { "" };
            let changed = settings(&format!("{rate}{key} = {value}"));
            let changes = differences(&settings(""), &changed);
            let told: Vec<_> = changes.iter().map(|change| (change.key, change.to.as_str())).collect();
            assert_eq!(told, [(key, other)]);
        }
    }

    #[test]
    fn another_password_of_a_proxy_is_told_without_showing_it() {
        let with = |password: &str| settings(&format!("api.proxy = \"http://user:{password}@proxy:3128\""));
        let changes = differences(&with("old"), &with("new"));
        let told: Vec<_> = changes.iter().map(|change| (change.from.as_str(), change.to.as_str())).collect();
        assert_eq!(told, [("http://***@proxy:3128", "http://***@proxy:3128, with another user or password")]);
        assert_eq!(differences(&with("old"), &with("old")), []);
    }

    #[test]
    fn what_can_change_is_taken_over_and_what_needs_a_restart_stays_and_is_told_again() {
        let every: String = OTHERS.iter().map(|(key, value)| (key, value.parse::<u32>().is_ok(), value)).fold(
            String::new(),
            |text, (key, number, value)| {
                if number { format!("{text}{key} = {value}\n") } else { format!("{text}{key} = \"{value}\"\n") }
            },
        );
        let mut in_force = settings("");
        let changes = in_force.adopt(settings(&every));
        let at_start: Vec<_> = changes.iter().filter(|change| change.at_start).map(|change| change.key).collect();
        assert_eq!((changes.len(), at_start.as_slice()), (KEYS.len(), AT_START.as_slice()));
        let again = in_force.adopt(settings(&every));
        assert_eq!(again.iter().map(|change| change.key).collect::<Vec<_>>(), AT_START);
        assert!(again.iter().all(|change| change.at_start));
    }
}
