//! What `certcommit check` tells about the database: beside the daemon, and without writing anything, unless it is asked to
//! repair.

use std::io::{self, Write};

use super::{INDENT, LONGEST_PLACE};
use crate::cli::exit::{Code, Failure};
use crate::clock;
use crate::config::Settings;
use crate::escaping::printable;
use crate::queue::{Opening, Queue, QueueError, RestoreMarker, SALVAGE, Saved, daemon_lives, repair};
use crate::submission::State;

/// Looks at it, as closely as it is asked to.
pub(super) async fn check(out: &mut impl Write, settings: &Settings, integrity: bool) -> Result<(), Failure> {
    let path = place(settings);
    // Before the database: a daemon at work goes on.
    let mark = RestoreMarker::look(&settings.database.path)?;
    let mut queue = match Queue::open(&settings.database, Opening::Looking).await {
        Ok(queue) => queue,
        Err(QueueError::Missing(_)) => {
            writeln!(out, "database       {path} is not there yet; the first start makes it")?;
            return Ok(());
        }
        Err(error @ (QueueError::Empty(_) | QueueError::Outdated { .. })) => {
            writeln!(out, "database       {}", printable(&error.with_remedy(), LONGEST_PLACE))?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let flaws = queue.flaws().await?;
    // A table that is gone can't be asked.
    if flaws.is_empty() {
        writeln!(out, "database       {path}: {}", summary(&mut queue, settings).await?)?;
        for trigger in queue.foreign_triggers().await? {
            let theirs = format!("{INDENT}others' rules: the trigger {trigger}");
            writeln!(out, "{}", printable(&theirs, LONGEST_PLACE))?;
        }
    }
    if integrity {
        return check_integrity(out, &mut queue, &path).await;
    }
    if flaws.is_empty() {
        return tell_of_the_record(out, &mut queue, mark).await;
    }
    for flaw in &flaws {
        writeln!(out, "rules          {}", printable(&flaw.to_string(), LONGEST_PLACE))?;
    }
    Err(Failure::new(Code::Data, format!("{path} is not as certcommit made it, as the lines above tell. {REPAIR}")))
}

/// What the daemon deals with by itself when it starts: it pauses, or counts anew.
async fn tell_of_the_record(out: &mut impl Write, queue: &mut Queue, mark: Option<i64>) -> Result<(), Failure> {
    if let Some(gap) = queue.gap(mark).await? {
        writeln!(out, "record         {}", printable(&gap.to_string(), LONGEST_PLACE))?;
    }
    if queue.is_miscounted().await? {
        writeln!(out, "record         the counts in state_counts are wrong; the daemon counts anew")?;
    }
    Ok(())
}

const REPAIR: &str = "If rules are missing or altered, stop the daemon and run: certcommit check --repair";

async fn summary(queue: &mut Queue, settings: &Settings) -> Result<String, Failure> {
    let counts = queue.counts().await?;
    let version = queue.sqlite_version().await?;
    let daemon = if daemon_lives(&settings.database.path)? { "a daemon runs" } else { "no daemon runs" };
    let (pending, held) = (counts.of(State::Pending), counts.of(State::Held));
    let allowed = queue.unsafe_filesystem().map(|kind| {
        let kind = printable(kind, LONGEST_PLACE);
        format!(
            "\n{INDENT}on a filesystem ({kind}) that another program or the machine's host serves: locks hold only if that \
             makes them hold"
        )
    });
    Ok(format!("{pending} pending, {held} held; {daemon}; SQLite {version}{}", allowed.unwrap_or_default()))
}

/// Tells that the database is whole, or what isn't, a line each.
async fn check_integrity(out: &mut impl io::Write, queue: &mut Queue, path: &str) -> Result<(), Failure> {
    let findings = queue.check_integrity().await?;
    if findings.is_empty() {
        writeln!(out, "integrity      whole: the structure, the rules, and the rows among each other")?;
        return Ok(());
    }
    for finding in &findings {
        writeln!(out, "integrity      {}", printable(finding, LONGEST_PLACE))?;
    }
    let advice =
        format!("{path} is not whole, as the lines above tell. {REPAIR}. If its structure is damaged, {SALVAGE}");
    Err(Failure::new(Code::Data, advice))
}

/// Makes the rules whole again, and tells what it did and what it could not do.
pub(super) async fn mend(out: &mut impl Write, settings: &Settings) -> Result<(), Failure> {
    let repaired = repair(&settings.database, clock::now().unix).await?;
    let mut tell = |what: &str| writeln!(out, "repair         {}", printable(what, LONGEST_PLACE));
    let Some(copy) = repaired.copy else {
        tell("nothing to do: the rules are whole, and the counts are right")?;
        return Ok(());
    };
    tell(&format!("copied first, as it was, to {}", copy.display()))?;
    for flaw in &repaired.fixed {
        tell(&format!("{} {} is made again", flaw.kind(), flaw.name()))?;
    }
    if repaired.recounted {
        tell("state_counts is counted anew")?;
    }
    if let Some(Saved { submissions, ids, strays }) = repaired.saved {
        tell(&format!(
            "it was read in from a dump, and is a queue again: {submissions} submissions, where ids up to {ids} were given \
             out; {strays} certificates have requests on record and are not in the queue"
        ))?;
        tell("it is paused; enqueue what is missing, then: certcommit verify --pending; then: certcommit resume")?;
    }
    for (flaw, reason) in &repaired.left {
        let reason = reason.as_deref().unwrap_or("it can't be made again; restore a backup");
        tell(&format!("NOT mended: {flaw}: {reason}"))?;
    }
    Ok(())
}

fn place(settings: &Settings) -> String {
    printable(&settings.database.path.display().to_string(), LONGEST_PLACE)
}
