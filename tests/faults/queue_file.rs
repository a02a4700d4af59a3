//! The queue is behind a symbolic link, has a hard link, is a mount point, is on FUSE, or has files with wrong permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use certcommit::daemon::Stop;

use crate::support::{Bench, Process, ids, in_time, output, text, variable};

const CONFIGURATION: i32 = 78;
const PERMISSION: i32 = 77;

/// Commands that read the queue or write to it.
const COMMANDS: [&[&str]; 6] =
    [&["run", "--until-empty"], &["enqueue", "abcb1234"], &["status"], &["check"], &["pause"], &["backup", "copy.db"]];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn sqlite3(database: &Path, statement: &str) -> String {
    let shell = Command::new("sqlite3").args(["-cmd", ".timeout 5000"]).arg(database).arg(statement).output().unwrap();
    assert!(shell.status.success(), "{shell:?}");
    String::from_utf8(shell.stdout).unwrap()
}

/// Runs a command that must end with this code. Returns its error message.
async fn refused(command: Command, code: i32) -> String {
    let command_line = format!("{command:?}");
    let ended = output(command).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{command_line}: {stderr}");
    stderr
}

/// The names in a directory that start with this one.
fn names_starting_with(directory: &Path, name: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|entry| entry.starts_with(name)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_symbolic_link_leads_every_command_to_the_same_database() {
    let mut bench = Bench::new().await;
    let real = bench.path("real");
    fs::create_dir(&real).unwrap();
    fs::rename(bench.database(), real.join("queue.db")).unwrap();
    let link = bench.path("link.db");
    symlink("real/queue.db", &link).unwrap();
    bench.set("database.path", &text(&link));
    assert_eq!(output(bench.command(&["enqueue", "abcb1234"])).await.status.code(), Some(0));
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("submitted").await;
    sqlite3(&link, "INSERT INTO submissions (certificate_id) VALUES ('by-the-link')");
    sqlite3(&real.join("queue.db"), "INSERT INTO submissions (certificate_id) VALUES ('by-the-file')");
    in_time("both orders", bench.simulator.until_orders(3)).await;
    let status = output(bench.command(&["status"])).await;
    assert!(String::from_utf8(status.stdout).unwrap().starts_with("RUNNING"));
    let mut by_the_file = bench.command(&["run"]);
    by_the_file.env(variable("database.path"), real.join("queue.db"));
    assert!(refused(by_the_file, 75).await.contains("another daemon holds"));
    assert_eq!(names_starting_with(&bench.path(""), "link.db"), ["link.db"], "the link has no files next to it");
    let files = ["queue.db", "queue.db-shm", "queue.db-wal", "queue.db.lock", "queue.db.mark"];
    assert_eq!(names_starting_with(&real, "queue.db"), files);
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    assert_eq!(sqlite3(&link, "SELECT count(*) FROM submissions WHERE state = 'submitted'"), "3\n");
}

#[tokio::test]
async fn a_dangling_link_creates_the_database_at_its_target() {
    for arguments in [&["run", "--until-empty"][..], &["enqueue", "abcb1234"]] {
        let mut bench = Bench::new().await;
        fs::create_dir(bench.path("real")).unwrap();
        symlink("real/other.db", bench.path("between.db")).unwrap();
        symlink(bench.path("between.db"), bench.path("link.db")).unwrap();
        bench.set("database.path", &text(&bench.path("link.db")));
        let missing = refused(bench.command(&["status"]), 74).await;
        assert!(missing.contains("there is no queue at") && missing.contains("real/other.db"), "{missing}");
        assert_eq!(output(bench.command(arguments)).await.status.code(), Some(0), "{arguments:?}");
        assert_eq!(mode(&bench.path("real/other.db")), 0o660);
        assert_eq!(sqlite3(&bench.path("link.db"), "SELECT count(*) FROM daemon"), "1\n");
    }
}

#[tokio::test]
async fn a_link_that_is_redirected_while_the_daemon_runs_ends_it_with_76() {
    let mut bench = Bench::new().await;
    let link = bench.path("link.db");
    symlink("queue.db", &link).unwrap();
    bench.set("database.path", &text(&link));
    let mut daemon = bench.spawn(&["run"]);
    daemon.until_event("ready").await;
    fs::copy(bench.database(), bench.path("other.db")).unwrap();
    symlink("other.db", bench.path("link.new")).unwrap();
    fs::rename(bench.path("link.new"), &link).unwrap();
    let (code, lines) = daemon.end().await;
    assert_eq!(code, Some(76), "{lines:?}");
    assert!(
        lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("link.db"))),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_database_with_a_hard_link_is_refused_by_every_command_under_either_name() {
    let mut bench = Bench::new().await;
    bench.enqueue(&ids(3)).await;
    fs::create_dir(bench.path("elsewhere")).unwrap();
    let second = bench.path("elsewhere/second.db");
    fs::hard_link(bench.database(), &second).unwrap();
    let before = fs::read(bench.database()).unwrap();
    for path in [bench.database(), second.clone()] {
        bench.set("database.path", &text(&path));
        for arguments in COMMANDS {
            let stderr = refused(bench.command(arguments), CONFIGURATION).await;
            let find = format!("-xdev -samefile {}", path.display());
            assert!(stderr.contains("has 2 names") && stderr.contains(&find), "{arguments:?}: {stderr}");
        }
    }
    assert!(!bench.path("queue.db.mark").exists() && !bench.path("queue.db-wal").exists());
    assert_eq!(names_starting_with(&bench.path("elsewhere"), ""), ["second.db"]);
    assert_eq!(fs::read(bench.database()).unwrap(), before);
    assert_eq!(bench.simulator.arrivals().len(), 0);
    fs::remove_file(second).unwrap();
    bench.set("database.path", &text(&bench.database()));
    bench.run_until_empty().await;
    bench.assert_each_submitted_once(&ids(3)).await;
}

#[tokio::test]
async fn a_hard_link_made_while_the_daemon_runs_stops_sending_until_it_is_removed() {
    let (bench, ids) = (Bench::new().await, ids(60));
    bench.enqueue(&ids).await;
    let mut daemon = bench.spawn(&["run"]);
    in_time("some commits", bench.simulator.until_commits(6)).await;
    fs::hard_link(bench.database(), bench.path("second.db")).unwrap();
    let line = daemon.until_event("database_unavailable").await;
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("queue.db has 2 names") && message.contains("-samefile"), "{message}");
    for _ in 0..line["on_the_way"].as_u64().unwrap() {
        daemon.until_event("submitted").await;
    }
    let sent = bench.simulator.commits().len();
    assert!(sent < 60, "it was stopped midway");
    let mut other = bench.command(&["run"]);
    other.env(variable("database.path"), bench.path("second.db"));
    refused(other, CONFIGURATION).await;
    assert_eq!(bench.simulator.commits().len(), sent, "nothing more is sent");
    fs::remove_file(bench.path("second.db")).unwrap();
    daemon.until_event("resumed").await;
    in_time("all orders", bench.simulator.until_orders(60)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.end().await.0, Some(0));
    bench.assert_each_submitted_once(&ids).await;
    assert_eq!(bench.simulator.commits().len(), 60, "nothing was sent again");
}

#[tokio::test]
async fn a_database_that_is_a_mount_point_is_refused_and_one_in_a_mounted_directory_is_not() {
    let mut bench = Bench::new().await;
    bench.enqueue(&["abcb1234"]).await;
    fs::create_dir(bench.path("a container")).unwrap();
    let mounted = bench.path("a container/queue.db");
    fs::write(&mounted, "").unwrap();
    bench.set("database.path", &text(&mounted));
    // As `docker run -v FILE:FILE` and `-v DIRECTORY:DIRECTORY` do.
    let mount = |what: &Path, at: &Path| {
        let script = format!("mount --bind '{}' '{}' && exec \"$@\"", what.display(), at.display());
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned)
    };
    for arguments in COMMANDS {
        let wrapper = mount(&bench.database(), &mounted);
        let command = bench.command_under(&wrapper.each_ref().map(String::as_str), arguments);
        let stderr = refused(command, CONFIGURATION).await;
        assert!(stderr.contains("is itself a mount point") && stderr.contains("mount its directory"), "{stderr}");
    }
    assert_eq!(names_starting_with(&bench.path("a container"), ""), ["queue.db"]);
    fs::create_dir(bench.path("whole")).unwrap();
    fs::rename(bench.database(), bench.path("whole/queue.db")).unwrap();
    let wrapper = mount(&bench.path("whole"), &bench.path("a container"));
    let command = bench.command_under(&wrapper.each_ref().map(String::as_str), &["run", "--until-empty"]);
    assert_eq!(output(command).await.status.code(), Some(0));
    assert_eq!(bench.simulator.orders_placed("abcb1234"), 1);
}

#[tokio::test]
async fn a_fuse_filesystem_is_refused_unless_it_is_allowed() {
    let mut bench = Bench::new().await;
    for name in ["real", "served"] {
        fs::create_dir(bench.path(name)).unwrap();
    }
    bench.set("database.path", &text(&bench.path("served/queue.db")));
    // The FUSE server ends with the command.
    let script =
        format!("bindfs '{}' '{}' && exec \"$@\"", bench.path("real").display(), bench.path("served").display());
    let wrapper =
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--kill-child", "sh", "-c", &script, "sh"];
    for arguments in COMMANDS {
        let stderr = refused(bench.command_under(&wrapper, arguments), CONFIGURATION).await;
        assert!(
            stderr.contains("is on a filesystem (fuse") && stderr.contains("database.unsafe_filesystem"),
            "{stderr}"
        );
    }
    assert_eq!(names_starting_with(&bench.path("real"), ""), [""; 0], "nothing was created");
    bench.set("database.unsafe_filesystem", "allow");
    assert_eq!(output(bench.command_under(&wrapper, &["enqueue", "abcb1234"])).await.status.code(), Some(0));
    let (code, lines) = Process::spawn(bench.command_under(&wrapper, &["run", "--until-empty"])).end().await;
    assert_eq!(code, Some(0), "{lines:?}");
    let warned = |line: &serde_json::Value| line["level"] == "WARN" && line.to_string().contains("(fuse");
    assert!(lines.iter().any(warned), "{lines:?}");
    let checked = output(bench.command_under(&wrapper, &["check"])).await;
    assert!(String::from_utf8(checked.stdout).unwrap().contains("its filesystem (fuse"));
    assert_eq!(bench.simulator.orders_placed("abcb1234"), 1);
}

#[tokio::test]
async fn the_files_of_the_queue_are_for_user_and_group_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let mut bench = Bench::new().await;
        fs::create_dir(bench.path("new")).unwrap();
        let database = bench.path("new/queue.db");
        bench.set("database.path", &text(&database));
        let script = format!("umask {umask}; exec \"$@\"");
        let wrapper = ["sh", "-c", &script, "sh"];
        let mut daemon = Process::spawn(bench.command_under(&wrapper, &["run"]));
        daemon.until_event("ready").await;
        assert_eq!(output(bench.command_under(&wrapper, &["enqueue", "abcb1234"])).await.status.code(), Some(0));
        daemon.until_event("submitted").await;
        for suffix in ["", "-wal", "-shm", ".lock", ".mark"] {
            let file = bench.path(&format!("new/queue.db{suffix}"));
            assert_eq!(mode(&file), 0o660, "{suffix:?} under umask {umask}");
        }
        daemon.signal("TERM");
        assert_eq!(daemon.end().await.0, Some(0));
    }
}

#[tokio::test]
async fn a_file_with_a_wrong_mode_ends_the_start_with_77_and_the_command_that_fixes_it() {
    for suffix in ["", ".lock", ".mark"] {
        let bench = Bench::new().await;
        bench.start().await.stop(Stop::Soon).await;
        let file = bench.path(&format!("queue.db{suffix}"));
        fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
        // In a user namespace without a mapping, root is an ordinary user.
        let command = bench.command_under(&["unshare", "--user"], &["run"]);
        let stderr = refused(command, PERMISSION).await;
        let right = format!("chmod 0660 {}", file.display());
        assert!(stderr.contains(&format!("permission denied for {}", file.display())), "{stderr}");
        assert!(stderr.contains("it is 0440 ") && stderr.contains(&right), "{stderr}");
    }
}
