//! The content of the units.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use certcommit::cli::Code;

const UNITS: [&str; 2] = ["certcommit.service", "certcommit@.service"];

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The directives of a unit, in order.
fn directives(unit: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(deployed(unit)).unwrap();
    let set = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    set.map(str::to_owned).collect()
}

/// The value of a directive, which a unit must set exactly once.
fn setting(unit: &str, name: &str) -> String {
    let lines = directives(unit);
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("{unit} sets {name}")).to_owned();
    assert_eq!(found.next(), None, "{unit} sets {name} once");
    value
}

#[test]
fn the_template_unit_differs_only_where_the_instance_is_named() {
    let [unit, template] = UNITS.map(directives);
    assert_eq!(unit.len(), template.len());
    let different: Vec<(&str, &str)> =
        unit.iter().zip(&template).filter(|(one, other)| one != other).map(|(one, other)| (&**one, &**other)).collect();
    let expected = [
        (
            "Description=Commits Tencent Cloud SSL certificate orders from a SQLite queue",
            "Description=Commits Tencent Cloud SSL certificate orders from a SQLite queue (%i)",
        ),
        ("ExecStart=/usr/bin/certcommit run", "ExecStart=/usr/bin/certcommit --config /etc/certcommit/%i.toml run"),
        (
            "ExecReload=/usr/bin/certcommit check --configuration",
            "ExecReload=/usr/bin/certcommit --config /etc/certcommit/%i.toml check --configuration",
        ),
        ("StateDirectory=certcommit", "StateDirectory=certcommit/%i"),
        ("RuntimeDirectory=certcommit", "RuntimeDirectory=certcommit/%i"),
    ];
    assert_eq!(different, expected);
}

#[test]
fn the_service_is_not_restarted_after_failures_that_need_an_operator() {
    let needs_operator = [Code::Data, Code::Replaced, Code::Permission, Code::Config];
    for unit in UNITS {
        let codes = setting(unit, "RestartPreventExitStatus");
        let codes: BTreeSet<u8> = codes.split(' ').map(|code| code.parse().unwrap()).collect();
        assert_eq!(codes, needs_operator.map(Code::number).into(), "{unit}");
        assert_eq!(setting(unit, "Restart"), "on-failure", "{unit}");
        assert_eq!(setting(unit, "StartLimitIntervalSec"), "0", "{unit}: transient failures are retried without limit");
    }
}

#[test]
fn a_stop_takes_less_than_systemds_timeout() {
    let defaults = certcommit::config::Settings::load(Some(&deployed("../config/certcommit.toml")), []).unwrap();
    for unit in UNITS {
        let given: u64 = setting(unit, "TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
        assert!(defaults.worker.stop_timeout.as_secs() + 10 < given, "{unit}");
    }
}

#[test]
fn the_units_allow_the_network_and_the_metadata_service() {
    for unit in UNITS {
        let families = setting(unit, "RestrictAddressFamilies");
        assert!(["AF_INET", "AF_INET6", "AF_UNIX"].iter().all(|family| families.contains(family)), "{families}");
        let forbidden = ["IPAddressDeny", "PrivateNetwork", "SocketBindDeny"];
        let found: Vec<String> =
            directives(unit).into_iter().filter(|line| forbidden.iter().any(|name| line.starts_with(name))).collect();
        assert_eq!(found, Vec::<String>::new(), "{unit}");
    }
}

#[test]
fn the_units_let_the_group_write_the_queue() {
    for unit in UNITS {
        let settings = ["User", "Group", "UMask", "StateDirectoryMode"].map(|name| setting(unit, name));
        assert_eq!(settings, ["certcommit", "certcommit", "0007", "2770"], "{unit}");
    }
}
