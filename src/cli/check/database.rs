//! What `certcommit check` reports about the database. It may run while the daemon does, and writes nothing unless
//! asked to repair.

use super::report::Report;
use crate::cli::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::queue::{Opening, Queue, QueueError, RestoreMarker, SALVAGE, Saved, daemon_lives, obstacle, repair};
use crate::submission::State;

const REPAIR: &str = "If rules are missing or altered, stop the daemon and run: certcommit check --repair";
const UNSAFE_FILESYSTEM: &str =
    "is served by another program or by the virtual machine's host: locks are safe only if the server enforces them";

/// Checks the database, all of it if `integrity` is set.
pub(super) async fn check(report: &mut Report, settings: &Settings, integrity: bool) -> Result<(), Failure> {
    let path = settings.database.path.display();
    // Before the database is opened: that would release the locks of the connection.
    let obstacle = obstacle(&settings.database.path).await?;
    // Read before the database, since a running daemon advances both.
    let marker = RestoreMarker::look(&settings.database.path)?;
    let mut queue = match Queue::open(&settings.database, Opening::Looking).await {
        Ok(queue) => queue,
        Err(QueueError::Missing(_)) => {
            report.line("database", format!("{path} doesn't exist yet; the first start creates it"))?;
            return Ok(());
        }
        Err(error @ (QueueError::Empty(_) | QueueError::Outdated { .. })) => {
            report.line("database", error.with_remedy())?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let flaws = queue.flaws().await?;
    // A missing table can't be queried.
    if flaws.is_empty() {
        summarize(report, &mut queue, settings).await?;
    }
    if integrity {
        return check_integrity(report, &mut queue, settings).await;
    }
    if flaws.is_empty() {
        check_record(report, &mut queue, marker).await?;
        return obstacle.map_or(Ok(()), |obstacle| Err(obstacle.into()));
    }
    for flaw in &flaws {
        report.line("rules", flaw)?;
    }
    Err(Failure::new(Code::Data, format!("{path} differs from what certcommit created; see the lines above. {REPAIR}")))
}

async fn summarize(report: &mut Report, queue: &mut Queue, settings: &Settings) -> Result<(), Failure> {
    let path = &settings.database.path;
    let counts = queue.counts().await?;
    let (pending, held) = (counts.of(State::Pending), counts.of(State::Held));
    let daemon = if daemon_lives(path)? { "a daemon is running" } else { "no daemon is running" };
    let sqlite = queue.sqlite_version().await?;
    let summary = format!("{}: {pending} pending, {held} held; {daemon}; SQLite {sqlite}", path.display());
    report.line("database", summary)?;
    if let Some(kind) = queue.unsafe_filesystem() {
        report.line("", format!("its filesystem ({kind}) {UNSAFE_FILESYSTEM}"))?;
    }
    for trigger in queue.foreign_triggers().await? {
        let drop = trigger.drop_command(path);
        report.line("", format!("has a trigger that is not certcommit's: {trigger}. To drop it: {drop}"))?;
    }
    Ok(())
}

/// Reports what the daemon handles itself when it starts, by pausing or by recounting.
async fn check_record(report: &mut Report, queue: &mut Queue, marker: Option<i64>) -> Result<(), Failure> {
    if let Some(gap) = queue.gap(marker).await? {
        report.line("record", gap)?;
    }
    if queue.is_miscounted().await? {
        report.line("record", "the counts in state_counts are wrong; the daemon will recount")?;
    }
    Ok(())
}

async fn check_integrity(report: &mut Report, queue: &mut Queue, settings: &Settings) -> Result<(), Failure> {
    let findings = queue.check_integrity().await?;
    if findings.is_empty() {
        report.line("integrity", "intact: structure, rules, and consistency of the rows")?;
        return Ok(());
    }
    for finding in &findings {
        report.line("integrity", finding)?;
    }
    let path = settings.database.path.display();
    let advice = format!("{path} is damaged; see the lines above. {REPAIR}. If its structure is damaged, {SALVAGE}");
    Err(Failure::new(Code::Data, advice))
}

/// Restores the rules, and reports what was restored and what wasn't.
pub(super) async fn restore_rules(report: &mut Report, settings: &Settings) -> Result<(), Failure> {
    let repaired = repair(&settings.database, clock::now().unix).await?;
    let mut print = |what: &str| report.line("repair", what);
    let Some(copy) = repaired.copy else {
        print("nothing to do: the rules are complete, and the counts are correct")?;
        return Ok(());
    };
    print(&format!("copied the queue to {} first", copy.display()))?;
    for flaw in &repaired.fixed {
        print(&format!("{} {} is restored", flaw.kind(), flaw.name()))?;
    }
    if repaired.recounted {
        print("state_counts is recounted")?;
    }
    if let Some(Saved { submissions, ids, strays }) = repaired.saved {
        print(&format!(
            "the dump is a queue again: {submissions} submissions, of {ids} that were ever enqueued; {strays} certificates \
             have requests on record but are not in the queue"
        ))?;
        print("it is paused: enqueue what is missing, then run certcommit verify --pending and certcommit resume")?;
    }
    for (flaw, reason) in &repaired.left {
        let reason = reason.as_deref().unwrap_or("it can't be restored; restore a backup");
        print(&format!("NOT restored: {flaw}: {reason}"))?;
    }
    Ok(())
}
