//! systemd's journal in a mount namespace of its own, which needs no root, and programs that log to it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Bench, text, variable};

/// Starts journald with its files in `$0`, and stops it when the standard input ends.
const JOURNAL: &str = "set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind \"$0\" /run/log/journal
/lib/systemd/systemd-journald & journald=$!
until [ -S /run/systemd/journal/socket ]; do kill -0 $journald; sleep 0.1; done
echo listening
cat
kill $journald
wait";

/// Runs a command as systemd does: connected to the journal, with `JOURNAL_STREAM` set.
const UNDER_SYSTEMD: &str = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$0\" \"$@\"";

/// The journal. Dropping it stops journald.
pub(crate) struct Journal {
    keeper: Child,
    files: PathBuf,
}

impl Journal {
    pub(crate) fn start(bench: &Bench) -> Self {
        let files = bench.path("journal");
        std::fs::create_dir(&files).unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", JOURNAL, &text(&files)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare: {error}"));
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "journald failed to start");
        Self { keeper, files }
    }

    /// A command that appears to run under systemd, with the default log format.
    pub(crate) fn command(&self, bench: &Bench, arguments: &[&str]) -> Command {
        let target = format!("--target={}", self.keeper.id());
        let entering = ["nsenter", &target, "--user", "--preserve-credentials", "--mount"];
        let wrapper = [&entering[..], &["systemd-cat", "sh", "-c", UNDER_SYSTEMD]].concat();
        let mut command = bench.command_under(&wrapper, arguments);
        command.env_remove(variable("log.format"));
        command
    }

    /// A shell that runs this script. In it, `journalctl` and `certcommit` work on the bench, and `mail` writes its arguments
    /// to the file `mail`. Since there is no unit, `journalctl -u` looks for the program's name.
    pub(crate) fn shell(&self, bench: &Bench, script: &str) -> Command {
        let tools = bench.path("tools");
        if !tools.exists() {
            std::fs::create_dir(&tools).unwrap();
            let program = env!("CARGO_BIN_EXE_certcommit");
            let journalctl = format!("exec /usr/bin/journalctl -D '{}' \"${{@/#-u/-t}}\"", text(&self.files));
            let mail = format!("echo \"$*\" >>'{}'", text(&bench.path("mail")));
            for (name, line) in
                [("journalctl", journalctl), ("certcommit", format!("exec {program} \"$@\"")), ("mail", mail)]
            {
                std::fs::write(tools.join(name), format!("#!/bin/bash\n{line}\n")).unwrap();
                std::fs::set_permissions(tools.join(name), PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        let mut command = bench.command_under(&["bash", "-c"], &[]);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", text(&tools)));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(bench.path(""));
        shell
    }
}

impl Drop for Journal {
    /// journald stops when the keeper's standard input ends.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().map(drop).unwrap_or_default();
    }
}
