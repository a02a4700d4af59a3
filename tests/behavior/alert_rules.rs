//! The alert rules in `deploy` use metrics that exist.

use std::collections::BTreeSet;

use certcommit::metrics::Metric;

const RULES: &str = include_str!("../../deploy/certcommit.rules.yml");

#[test]
fn every_metric_in_an_alert_exists() {
    let names = RULES.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
    let named: BTreeSet<&str> = names.filter(|name| name.starts_with("certcommit_")).collect();
    assert!(named.len() >= 5, "{named:?}");
    for name in named {
        assert!(Metric::NAMES.contains(&name), "{name}");
    }
}
