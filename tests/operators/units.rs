//! The units, the user and the state directory, as systemd's own tools read them. Needs `systemd-analyze`, `systemd-sysusers`
//! and `systemd-tmpfiles`, which work without a running systemd.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::text;

const UNITS: [&str; 2] = ["certcommit.service", "certcommit@.service"];
/// The highest exposure that `systemd-analyze security` may report, in tenths, out of ten.
const EXPOSURE_THRESHOLD: &str = "--threshold=12";

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Asserts that a tool succeeded without any output.
fn assert_silent(output: &Output, what: &str) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success() && text.is_empty(), "{what}: {}\n{text}", output.status);
}

#[test]
fn systemd_analyze_rates_the_exposure_of_the_units_as_low() {
    for unit in UNITS {
        let analyzed = run(
            "systemd-analyze",
            &["security", "--no-pager", "--offline=yes", EXPOSURE_THRESHOLD, &text(&deployed(unit))],
        );
        let report = String::from_utf8([analyzed.stdout, analyzed.stderr].concat()).unwrap();
        assert!(report.contains("Overall exposure level"), "{unit}: {report}");
        assert!(analyzed.status.success(), "{unit}: {report}");
    }
}

#[test]
fn systemd_analyze_accepts_the_units() {
    let directory = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // If the program isn't installed, use the one that was built.
        let lines = std::fs::read_to_string(deployed(unit)).unwrap();
        let copy = directory.path().join(unit);
        std::fs::write(&copy, lines.replace("/usr/bin/certcommit", env!("CARGO_BIN_EXE_certcommit"))).unwrap();
        assert_silent(&run("systemd-analyze", &["verify", "--man=no", &text(&copy)]), unit);
    }
}

#[test]
fn systemd_reads_the_user_and_the_state_directory_as_intended() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    let root = format!("--root={}", text(directory.path()));
    let made = run("systemd-sysusers", &[&root, &text(&deployed("certcommit.sysusers"))]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let users = std::fs::read_to_string(directory.path().join("etc/passwd")).unwrap();
    let user: Vec<&str> = users.trim_end().split(':').collect();
    assert_eq!((user[0], &user[4..]), ("certcommit", &["certcommit", "/nonexistent", "/usr/sbin/nologin"][..]));
    // Only parsed: creating the directory for that user requires root.
    let tmpfiles = deployed("certcommit.tmpfiles");
    let read = run("systemd-tmpfiles", &["--create", &root, "--prefix=/nowhere", &text(&tmpfiles)]);
    assert_silent(&read, "tmpfiles");
    let line = std::fs::read_to_string(tmpfiles).unwrap();
    assert!(line.contains("\nd /var/lib/certcommit 2770 certcommit certcommit -\n"), "{line}");
}
