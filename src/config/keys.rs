//! How keys are named, and what to say about an unknown one.

use super::settings::KEYS;
use crate::escaping::printable;

/// The prefix of every environment variable for a setting: `CERTCOMMIT__SECTION__KEY`.
pub const VARIABLE_PREFIX: &str = "CERTCOMMIT__";

/// Longer keys are truncated in errors.
const LONGEST_SHOWN: usize = 80;

/// A key is suggested if at most one letter in this many differs from the unknown key.
const LETTERS_PER_DIFFERENCE: usize = 4;

/// The environment variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    shown(&format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase()))
}

/// A key as an error shows it.
pub(super) fn shown(key: &str) -> String {
    printable(key, LONGEST_SHOWN)
}

/// What exists instead of an unknown key.
pub(super) fn hint(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let known = || KEYS.iter().filter_map(|(key, _)| key.split_once('.'));
    let names: Vec<&str> = known().filter(|(of, _)| *of == section).map(|(_, name)| name).collect();
    let mut sections: Vec<&str> = known().map(|(section, _)| section).collect();
    sections.dedup();
    let known = match names.as_slice() {
        [] => format!("the sections are {}", sections.join(", ")),
        names => format!("the keys of [{section}] are {}", names.join(", ")),
    };
    if ["secret", "token", "password"].iter().any(|word| name.contains(word)) {
        return format!("{known}; secrets don't belong in the configuration, see `credentials.source`");
    }
    match similar(key) {
        Some(similar) => format!("{known}; did you mean `{similar}`?"),
        None => known,
    }
}

/// The key that was probably meant.
fn similar(key: &str) -> Option<&'static str> {
    let key = shown(key).to_ascii_lowercase();
    let by_distance = KEYS.iter().map(|(known, _)| (strsim::levenshtein(&key, known), *known));
    by_distance
        .min()
        .filter(|(distance, known)| distance * LETTERS_PER_DIFFERENCE <= known.len())
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_similar_key_is_suggested() {
        let cases = [
            ("rate.gaurd", Some("rate.guard")),
            ("Rate.Guard", Some("rate.guard")),
            ("rates.guard", Some("rate.guard")),
            ("rate.max_tries", Some("retry.max_tries")),
            ("per_second", None),
            ("tracing.listener", None),
            ("rate.foo", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(similar(key), expected, "{key}");
        }
        assert_eq!(similar(&"x".repeat(1_000_000)), None);
    }

    #[test]
    fn the_keys_of_a_section_are_adjacent() {
        let mut sections: Vec<_> = KEYS.iter().filter_map(|(key, _)| key.split_once('.')).map(|(of, _)| of).collect();
        sections.dedup();
        let names = BTreeSet::from_iter(&sections);
        assert_eq!((names.len(), BTreeSet::from_iter(KEYS).len()), (sections.len(), KEYS.len()));
    }

    #[test]
    fn the_variable_of_a_key_is_upper_case_with_two_underscores() {
        assert_eq!(variable("rate.per_second"), "CERTCOMMIT__RATE__PER_SECOND");
    }
}
