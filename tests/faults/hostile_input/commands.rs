//! Files and arguments of commands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use super::run;
use crate::support::{Bench, output, variable};

#[tokio::test]
async fn a_file_with_anything_in_it_enqueues_its_ids_and_refuses_the_rest_by_line() {
    let bench = Bench::new().await;
    let long = [&b"abcd"[..], &b" ".repeat(5_000_000), &b"x".repeat(5_000_000), b"\nafter-long\n"].concat();
    let files: [(&[u8], &str, &str); 8] = [
        (b"crlf-1\r\n\r\ncrlf-2\r\n", "2 new, 0 known, 0 refused\n", ""),
        (b"\xef\xbb\xbfbom-1\nbom-2", "2 new, 0 known, 0 refused\n", ""),
        (b"nul-1\nnul\x002\n\x00\n", "1 new, 0 known, 2 refused\n", "line 2: invalid certificate ID \"nul\\0"),
        (b"latin-1\nlatin-\xe9\n", "1 new, 0 known, 1 refused\n", "line 2: "),
        (b"utf-1\n\xff\xfea\x00\n", "1 new, 0 known, 1 refused\n", "line 2: "),
        (
            b"# comment\n\x1b[2J\x1b]0;t\x07\n",
            "0 new, 0 known, 1 refused\n",
            "line 2: invalid certificate ID \"\\u{1b}[2J",
        ),
        (b"x'; DROP TABLE submissions; --\n", "0 new, 0 known, 1 refused\n", "line 1: "),
        (&long, "1 new, 0 known, 1 refused\n", "line 1: "),
    ];
    for (number, (content, printed, errors)) in files.into_iter().enumerate() {
        let file = bench.path(&format!("ids-{number}"));
        std::fs::write(&file, content).unwrap();
        for path in [file.to_str().unwrap(), "-"] {
            let mut command = bench.command(&["enqueue", "--file", path]);
            if path == "-" {
                command = from_file(&command, &file);
            }
            let (code, out, err) = run(command).await;
            // The second time, by standard input, the rows are known and stay unchanged.
            let expected = if path == "-" { printed.replace(" new, 0 known", " known") } else { printed.to_owned() };
            let out = if path == "-" { out.replace("0 new, ", "") } else { out };
            assert_eq!(out, expected, "{number}: {err}");
            assert_eq!(code, Some(i32::from(!printed.ends_with("0 refused\n"))), "{number}");
            assert!(err.starts_with(errors), "{number}: {err}");
        }
    }
    assert_eq!(bench.rows().await.len(), 8);
}

/// The command with this file as its standard input.
fn from_file(command: &Command, file: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" "$@" < "$IDS""#]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", std::env::var_os("PATH").unwrap()).env("IDS", file);
    shell
}

#[tokio::test]
async fn invalid_arguments_are_refused_without_controlling_the_terminal() {
    let bench = Bench::new().await;
    let (code, printed, errors) =
        run(bench.command(&["enqueue", "good", "a\u{1b}[31m", "a\nb", "", "é", "x'--"])).await;
    assert_eq!((code, printed.as_str()), (Some(1), "1 new, 0 known, 5 refused\n"));
    assert_eq!(errors.lines().count(), 5, "{errors}");
    let usage: [&[&str]; 6] = [
        &["history", "\u{1b}[2J"],
        &["\u{1b}[2J\u{7}"],
        &["run", "--\u{1b}]0;title\u{7}"],
        &["enqueue", "a", "--verify-type", "\u{202e}SND"],
        &["enqueue", "a", "--due-at", "\u{1b}[2J"],
        &["enqueue", "a", "--priority", "\u{9b}2J"],
    ];
    for arguments in usage {
        let (code, printed, errors) = run(bench.command(arguments)).await;
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
    let mut command = bench.command(&["history"]);
    command.arg(OsStr::from_bytes(b"\xff\x1b[2J"));
    assert_eq!(run(command).await.0, Some(2));
    let (code, _, errors) = run(bench.command(&["enqueue", "--file", "/nonexistent/\u{1b}[2J\n"])).await;
    assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
    let mut command = bench.command(&["status"]);
    command.env(variable("database.path"), "/nonexistent/\u{1b}[2J\n\u{202e}.db");
    let (code, _, errors) = run(command).await;
    assert!(code.is_some_and(|code| code > 2) && errors.lines().count() == 1, "{errors}");
    assert_eq!(bench.rows().await.len(), 1);
}

#[tokio::test]
async fn a_refused_argument_does_not_control_a_real_terminal() {
    let bench = Bench::new().await;
    let mut command = Command::new("script");
    command.args([
        "--quiet",
        "--return",
        "--command",
        r#""$CERTCOMMIT" history "$ID"; "$CERTCOMMIT" "$ID""#,
        "/dev/null",
    ]);
    command.env("CERTCOMMIT", bench.bare_command(&[]).get_program()).env("ID", "\u{1b}]0;title\u{7}");
    let seen = String::from_utf8(output(command).await.stdout).unwrap();
    assert_eq!(seen.matches("error: ").count(), 2, "{seen}");
    assert!(!seen.contains("\u{1b}]") && !seen.contains('\u{7}'), "{seen:?}");
}

#[tokio::test]
async fn a_database_path_may_have_any_characters() {
    let bench = Bench::new().await;
    for name in
        ["with space é🙂.db", "quo'te\"d;--.db", "per%20cent?mode=memory#.db", "new\nline\u{1b}[2J.db", ":memory:x"]
    {
        let path = bench.path(name);
        let command = |arguments: &[&str]| {
            let mut command = bench.command(arguments);
            command.env(variable("database.path"), &path);
            command
        };
        let id = format!("id-{}", name.len());
        assert_eq!(run(command(&["enqueue", &id])).await.0, Some(0), "{name:?}");
        assert!(path.is_file(), "{name:?} is at the configured path");
        let (code, _, log) = run(command(&["run", "--until-empty"])).await;
        assert_eq!(code, Some(0), "{name:?}: {log}");
        assert_eq!(bench.simulator.orders_placed(&id), 1, "{name:?}");
        for arguments in [&["status"][..], &["check"], &["history", &id], &["status", "--json"]] {
            let (code, printed, errors) = run(command(arguments)).await;
            assert_eq!((code, errors.as_str()), (Some(0), ""), "{name:?}: {printed}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_file_of_ids_is_a_usage_error_and_creates_no_queue() {
    let bench = Bench::new().await;
    let (database, directory, missing) = (bench.path("new.db"), bench.path("ids"), bench.path("missing"));
    std::fs::create_dir(&directory).unwrap();
    for (path, says) in [(&directory, "is a directory; name a file"), (&missing, "No such file or directory")] {
        let mut command = bench.command(&["enqueue", "--file", path.to_str().unwrap()]);
        command.env(variable("database.path"), &database);
        let (code, printed, errors) = run(command).await;
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.contains(path.to_str().unwrap()) && errors.contains(says), "{errors}");
        assert!(!database.exists());
    }
    let (code, _, errors) = run(from_file(&bench.command(&["enqueue", "--file", "-"]), &directory)).await;
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("standard input is a directory"), "{errors}");
}

#[tokio::test]
async fn canceling_is_idempotent() {
    let bench = Bench::new().await;
    bench.enqueue(&["a", "b"]).await;
    const ONE: &str = "1 canceled; orders already placed are unaffected";
    const ALREADY: &str = "a: already canceled; details: certcommit history a";
    let steps: [(&[&str], i32, &[&str]); 4] = [
        (&["cancel", "a", "a"], 0, &[ONE]),
        (&["cancel", "a"], 0, &[ALREADY]),
        (&["cancel", "b", "a", "b", "a"], 0, &[ONE, ALREADY]),
        (&["cancel", "unknown", "a", "unknown"], 1, &["unknown: not in the queue", ALREADY]),
    ];
    for (arguments, expected, lines) in steps {
        let (code, printed, errors) = run(bench.command(arguments)).await;
        assert_eq!((code, errors.as_str()), (Some(expected), ""), "{arguments:?}: {printed}");
        assert_eq!(printed.lines().collect::<Vec<_>>(), lines, "{arguments:?}");
    }
    assert_eq!(bench.count("canceled").await, 2);
}

#[tokio::test]
async fn submissions_that_cannot_change_state_are_listed_and_the_others_change_state() {
    const SENT: &str = "\nsent: is submitted, and stays as it is; details: certcommit history sent\n";
    let bench = Bench::new().await;
    bench.enqueue(&["sent"]).await;
    bench.run_until_empty().await;
    bench.enqueue(&["a"]).await;
    let (code, printed, _) = run(bench.command(&["cancel", "sent", "a"])).await;
    assert_eq!(code, Some(1));
    assert!(printed.starts_with("1 canceled; ") && printed.ends_with(SENT), "{printed}");
    let (code, printed, _) = run(bench.command(&["retry", "a", "sent", "a"])).await;
    assert_eq!(
        (code, printed),
        (Some(1), format!("1 pending again, due now; what was sent before is read back first{SENT}"))
    );
    let (code, printed, _) = run(bench.command(&["verify", "a", "a"])).await;
    let (first, rest) = printed.split_once('\n').unwrap();
    assert_eq!((code, first), (Some(0), "1 will be read back before anything is sent"));
    assert!(rest.starts_with("no daemon is running"), "{rest}");
}
