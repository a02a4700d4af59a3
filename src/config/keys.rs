//! Every key there is, and what to say about one that there isn't.

use std::iter;

/// Every key with its default as TOML text. The sample file and the documentation are checked against it.
///
/// An empty `credentials.file` stands for the vendor's places, an empty `credentials.role` for the machine's, an empty
/// `metrics.listen` for no metrics. `rate.per_second` is 10 unless said when
/// `api.action` is `CertificateOrderSubmit`.
pub const KEYS: &[(&str, &str)] = &[
    ("database.path", r#""/var/lib/certcommit/queue.db""#),
    ("database.unsafe_filesystem", r#""refuse""#),
    ("api.endpoint", r#""https://ssl.tencentcloudapi.com""#),
    ("api.proxy", r#""environment""#),
    ("api.action", r#""CommitCertificateInformation""#),
    ("api.connect_timeout", r#""5s""#),
    ("api.request_timeout", r#""30s""#),
    ("api.language", r#""en-US""#),
    ("credentials.source", r#""auto""#),
    ("credentials.file", r#""""#),
    ("credentials.profile", r#""default""#),
    ("credentials.role", r#""""#),
    ("rate.per_second", "20"),
    ("rate.guard", r#""25ms""#),
    ("retry.max_tries", "8"),
    ("retry.initial_backoff", r#""1s""#),
    ("retry.max_backoff", r#""5m""#),
    ("verify.settle", r#""60s""#),
    ("verify.resend_after", r#""10m""#),
    ("verify.per_second", "10"),
    ("pause.after", "5"),
    ("pause.probe_initial", r#""30s""#),
    ("pause.probe_max", r#""15m""#),
    ("worker.max_in_flight", "64"),
    ("worker.stop_timeout", r#""35s""#),
    ("log.level", r#""info""#),
    ("log.format", r#""auto""#),
    ("log.progress_interval", r#""60s""#),
    ("metrics.listen", r#""""#),
    ("retention.requests", r#""off""#),
];

/// A key or section that is shown in an error is cut after this many characters.
const LONGEST_SHOWN: usize = 80;

/// The environment variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("{}{}", super::VARIABLE_PREFIX, key.replace('.', "__").to_ascii_uppercase())
}

/// The sections, in the order of [`KEYS`].
fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> =
        KEYS.iter().filter_map(|(key, _)| key.split_once('.')).map(|(section, _)| section).collect();
    sections.dedup();
    sections
}

/// The names of the keys in a section; none if there is no such section.
pub(super) fn keys_of(section: &str) -> Vec<&'static str> {
    let in_section = |(key, _): &(&'static str, &str)| key.split_once('.').filter(|(of, _)| *of == section);
    KEYS.iter().filter_map(in_section).map(|(_, name)| name).collect()
}

/// A key as an error shows it: escaped and shortened.
pub(super) fn shown(key: &str) -> String {
    key.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect()
}

/// What to use instead of a key that doesn't exist.
pub(super) fn hint(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let known = match keys_of(section) {
        names if names.is_empty() => format!("the sections are {}", listed(&sections())),
        names => format!("the keys of [{section}] are {}", listed(&names)),
    };
    if ["secret", "token", "password"].iter().any(|word| name.contains(word)) {
        return format!("{known}; secrets never stand in the configuration, see `credentials.source`");
    }
    match closest(key) {
        Some(closest) => format!("{known}; did you mean `{closest}`?"),
        None => known,
    }
}

/// Names in backticks: `a`, `b` and `c`.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The key that was probably meant: the one of the same name in another section, or one a few letters away.
fn closest(key: &str) -> Option<&'static str> {
    let name = key.rsplit('.').next().unwrap_or(key);
    let mut namesakes = KEYS.iter().map(|(known, _)| *known).filter(|known| known.ends_with(&format!(".{name}")));
    if let (Some(only), None) = (namesakes.next(), namesakes.next()) {
        return Some(only);
    }
    // Beyond this, comparing is work for nothing: no key is near so long a text.
    let short = key.chars().take(LONGEST_SHOWN).collect::<String>().to_ascii_lowercase();
    let by_distance = KEYS.iter().map(|(known, _)| (distance(&short, known), *known));
    by_distance.min().filter(|(distance, known)| distance * 4 <= known.len()).map(|(_, known)| known)
}

/// The edit distance: letters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (done, letter) in left.chars().enumerate() {
        let mut previous = done + 1;
        let next = right.chars().zip(row.windows(2)).map(|(other, above)| {
            let replaced = above[0] + usize::from(letter != other);
            previous = replaced.min(above[1] + 1).min(previous + 1);
            previous
        });
        row = iter::once(done + 1).chain(next).collect();
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edit_distance_counts_letters() {
        let cases = [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("gaurd", "guard", 2)];
        for (left, right, expected) in cases {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn the_closest_key_is_suggested_and_a_far_one_is_not() {
        let cases = [
            ("rate.gaurd", Some("rate.guard")),
            ("Rate.Guard", Some("rate.guard")),
            ("rates.guard", Some("rate.guard")),
            ("rate.max_tries", Some("retry.max_tries")),
            ("level", Some("log.level")),
            ("per_second", None),
            ("tracing.listener", None),
            ("rate.foo", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(closest(key), expected, "{key}");
        }
        assert_eq!(closest(&"x".repeat(1_000_000)), None);
    }

    #[test]
    fn each_key_stands_once_in_one_section_of_its_own() {
        let mut keys: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), KEYS.len());
        let mut sorted = sections();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), sections().len(), "a section is split");
    }

    #[test]
    fn the_variable_of_a_key_is_upper_case_with_two_underscores() {
        assert_eq!(variable("rate.per_second"), "CERTCOMMIT__RATE__PER_SECOND");
    }
}
