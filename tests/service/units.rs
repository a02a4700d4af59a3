//! The units, the user and the state directory, as systemd's own tools read them. Needs `systemd-analyze`,
//! `systemd-sysusers` and `systemd-tmpfiles`, which work without a systemd that runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use certcommit::cli::Code;

use crate::support::text;

const UNITS: [&str; 2] = ["certcommit.service", "certcommit@.service"];
/// Of ten: the most that `systemd-analyze security` may find exposed, in tenths.
const MOST_EXPOSED: &str = "--threshold=12";

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// What a unit sets, in order, without its comments.
fn directives(unit: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(deployed(unit)).unwrap();
    let set = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    set.map(str::to_owned).collect()
}

/// The value of a setting that a unit has once.
fn setting(unit: &str, name: &str) -> String {
    let lines = directives(unit);
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("{unit} sets {name}")).to_owned();
    assert_eq!(found.next(), None, "{unit} sets {name} once");
    value
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Holds that a tool was content and had nothing to say.
fn assert_silent(output: &Output, what: &str) {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success() && said.is_empty(), "{what}: {}\n{said}", output.status);
}

#[test]
fn the_units_expose_at_most_a_tenth() {
    for unit in UNITS {
        let analyzed =
            run("systemd-analyze", &["security", "--no-pager", "--offline=yes", MOST_EXPOSED, &text(&deployed(unit))]);
        let said = String::from_utf8([analyzed.stdout, analyzed.stderr].concat()).unwrap();
        assert!(said.contains("Overall exposure level"), "{unit}: {said}");
        assert!(analyzed.status.success(), "{unit}: {said}");
    }
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() {
    let directory = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // Where the program isn't installed, the one that was built stands in for it.
        let lines = std::fs::read_to_string(deployed(unit)).unwrap();
        let copy = directory.path().join(unit);
        std::fs::write(&copy, lines.replace("/usr/bin/certcommit", env!("CARGO_BIN_EXE_certcommit"))).unwrap();
        assert_silent(&run("systemd-analyze", &["verify", "--man=no", &text(&copy)]), unit);
    }
}

#[test]
fn the_template_differs_from_the_unit_where_the_instance_is_named_and_nowhere_else() {
    let [unit, template] = UNITS.map(directives);
    assert_eq!(unit.len(), template.len());
    let different: Vec<(&str, &str)> =
        unit.iter().zip(&template).filter(|(one, other)| one != other).map(|(one, other)| (&**one, &**other)).collect();
    let named = [
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
    ];
    assert_eq!(different, named);
}

#[test]
fn what_somebody_has_to_look_at_is_not_started_again() {
    let needs_somebody = [Code::Data, Code::Replaced, Code::Permission, Code::Config];
    for unit in UNITS {
        let codes = setting(unit, "RestartPreventExitStatus");
        let codes: BTreeSet<u8> = codes.split(' ').map(|code| code.parse().unwrap()).collect();
        assert_eq!(codes, needs_somebody.map(Code::number).into(), "{unit}");
        assert_eq!(setting(unit, "Restart"), "on-failure", "{unit}");
        assert_eq!(setting(unit, "StartLimitIntervalSec"), "0", "{unit}: whatever mends itself is waited for");
    }
}

#[test]
fn a_stop_takes_less_than_it_is_given() {
    let defaults = certcommit::config::Settings::load(Some(&deployed("../config/certcommit.toml")), []).unwrap();
    for unit in UNITS {
        let given: u64 = setting(unit, "TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
        assert!(defaults.worker.stop_timeout.as_secs() + 10 < given, "{unit}");
    }
}

#[test]
fn the_network_is_open_and_the_machines_metadata_service_with_it() {
    for unit in UNITS {
        let families = setting(unit, "RestrictAddressFamilies");
        assert!(["AF_INET", "AF_INET6", "AF_UNIX"].iter().all(|family| families.contains(family)), "{families}");
        let closed = ["IPAddressDeny", "PrivateNetwork", "SocketBindDeny"];
        let found: Vec<String> =
            directives(unit).into_iter().filter(|line| closed.iter().any(|name| line.starts_with(name))).collect();
        assert_eq!(found, Vec::<String>::new(), "{unit}");
    }
}

#[test]
fn the_group_enqueues_whoever_made_the_files() {
    for unit in UNITS {
        let settings = ["User", "Group", "UMask", "StateDirectoryMode"].map(|name| setting(unit, name));
        assert_eq!(settings, ["certcommit", "certcommit", "0007", "2770"], "{unit}");
    }
}

#[test]
fn the_user_and_the_state_directory_are_as_systemd_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    let root = format!("--root={}", text(directory.path()));
    let made = run("systemd-sysusers", &[&root, &text(&deployed("certcommit.sysusers"))]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let users = std::fs::read_to_string(directory.path().join("etc/passwd")).unwrap();
    let user: Vec<&str> = users.trim_end().split(':').collect();
    assert_eq!((user[0], &user[4..]), ("certcommit", &["certcommit", "/nonexistent", "/usr/sbin/nologin"][..]));
    // Only read: to make the directory, which belongs to that user, takes root.
    let tmpfiles = deployed("certcommit.tmpfiles");
    let read = run("systemd-tmpfiles", &["--create", &root, "--prefix=/nowhere", &text(&tmpfiles)]);
    assert_silent(&read, "tmpfiles");
    let line = std::fs::read_to_string(tmpfiles).unwrap();
    assert!(line.contains("\nd /var/lib/certcommit 2770 certcommit certcommit -\n"), "{line}");
}
