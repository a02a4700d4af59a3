//! Repairing a queue whose schema was altered: certcommit's objects are recreated around the rows, which stay as they are.
//! Lost rows and columns of the record can't be recreated.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::application_id::{Contents, contents};
use super::backup::copy_as_it_is;
use super::connection::connect;
use super::error::{Fault, QueueError};
use super::files::daemon_lock::DaemonLock;
use super::files::location::{Location, Target};
use super::files::permission::{FILE_MODE, file_error};
use super::open::no_queue;
use super::paths::companion;
use super::run::pause;
use super::schema::comparison::{self, Flaw};
use super::schema::migrations::{APPLICATION_ID, MIGRATIONS, pending};
use super::schema::objects::{Object, Schema};
use super::schema::rebuild::{quoted, rebuild_table, run_all};
use super::state_counts::{CORRECT, DIFFERENCES};
use crate::cause::PauseCause;
use crate::clock::UnixMillis;
use crate::submission::State;

const WHAT: &str = "repairing";

/// The rows that must exist.
const ROWS: &str = "INSERT OR IGNORE INTO daemon (id) VALUES (1);
    INSERT OR IGNORE INTO insert_guard VALUES (1, 0);
    INSERT OR IGNORE INTO control (id, paused) VALUES (1, 1)";

/// Operators' decisions, as far as the submissions still show them.
const RESOLUTIONS: &str = "INSERT OR IGNORE INTO resolutions (certificate_id, order_id, resolved_at)
      SELECT certificate_id, order_id, coalesce(finished_at, updated_at) FROM submissions
       WHERE state = 'submitted' AND resolved_by = 'operator'";

/// Tables whose keys are never reused.
const SEQUENCES: [(&str, &str); 2] = [("submissions", "id"), ("requests", "number")];

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// The copy of the queue as it was before; none if there was nothing to do.
    pub copy: Option<PathBuf>,
    /// What was repaired.
    pub fixed: Vec<Flaw>,
    /// What couldn't be repaired, with the reason if it is known.
    pub left: Vec<(Flaw, Option<String>)>,
    /// Whether `state_counts` was wrong, and was corrected.
    pub recounted: bool,
    /// If it was loaded from a dump, and is therefore paused: what it holds.
    pub saved: Option<Saved>,
}

/// What a dump still held.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Saved {
    /// How many submissions there are.
    pub submissions: i64,
    /// The highest id that was assigned: one for each submission ever enqueued, and for some that were not.
    pub ids: i64,
    /// How many certificates have requests on record, but no submission: it was deleted, or lost.
    pub strays: i64,
}

/// Repairs the queue at this path, after writing a copy beside it. No daemon may hold it. Either repairs everything that can
/// be repaired, or changes nothing.
///
/// # Errors
/// When a daemon holds it, it isn't a queue or is damaged, or the copy can't be written.
pub async fn repair(target: impl Into<Target<'_>>, now: UnixMillis) -> Result<Repaired, QueueError> {
    let path = &Location::find(target.into())?.path;
    if !path.try_exists().map_err(file_error(path))? {
        return Err(no_queue(path, QueueError::Missing));
    }
    let _lock = DaemonLock::beside(path).await?;
    let (applied, is_from_dump) = match contents(path).await? {
        Contents::Empty => return Err(no_queue(path, QueueError::Empty)),
        Contents::Queue(applied) => (applied, false),
        Contents::Unmarked(applied) => (applied, true),
    };
    // A newer queue can't be repaired; an older one is repaired as its own version.
    pending(path, &applied, &MIGRATIONS)?;
    let mut connection = connect(path).await?;
    let flaws = comparison::flaws(&mut connection, &MIGRATIONS).await?;
    if flaws.is_empty() && !is_from_dump && !is_miscounted(&mut connection).await? {
        return Ok(Repaired::default());
    }
    let copy = companion(path, &format!(".before-repair-{}", now.seconds()));
    copy_as_it_is(&mut connection, &copy, FILE_MODE).await?;
    let made = Schema::made_by(&MIGRATIONS, &applied).await?;
    let mut repaired = repair_schema(&mut connection, &made, flaws, is_from_dump).await?;
    if is_from_dump {
        repaired.saved = Some(saved(&mut connection, path).await?);
    }
    repaired.copy = Some(copy);
    connection.close().await.map_err(QueueError::of("closing"))?;
    Ok(repaired)
}

/// What a dump still held. The shell creates files that the group can't write to.
async fn saved(connection: &mut SqliteConnection, path: &Path) -> Result<Saved, QueueError> {
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(file_error(path))?;
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM submissions) AS submissions,
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'submissions'), 0) AS ids,
                (SELECT count(DISTINCT certificate_id) FROM requests r
                  WHERE NOT EXISTS (SELECT 1 FROM submissions s WHERE s.certificate_id = r.certificate_id)) AS strays",
    )
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("counting what was saved"))
}

async fn is_miscounted(connection: &mut SqliteConnection) -> Result<bool, QueueError> {
    let differs = sqlx::query(DIFFERENCES).fetch_optional(connection).await;
    differs.map(|differs| differs.is_some()).map_err(QueueError::of("counting the submissions"))
}

async fn repair_schema(
    connection: &mut SqliteConnection,
    made: &Schema,
    flaws: Vec<Flaw>,
    is_from_dump: bool,
) -> Result<Repaired, QueueError> {
    // Otherwise, renaming a table would make SQLite rewrite objects that users added.
    let pragmas = "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON";
    sqlx::raw_sql(pragmas).execute(&mut *connection).await.map_err(QueueError::of(WHAT))?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(QueueError::of(WHAT))?;
    let mut repair = Repair { connection: &mut transaction, made, flaws: &flaws, reasons: Vec::new() };
    if !flaws.is_empty() {
        repair.recreate_objects().await?;
    }
    let recounted = repair.recount().await;
    if !flaws.is_empty() {
        repair.create_triggers().await?;
    }
    repair.raise_sequences().await?;
    if is_from_dump {
        repair.mark_and_pause().await?;
    }
    let reasons = repair.reasons;
    let left = comparison::flaws(&mut transaction, &MIGRATIONS).await?;
    transaction.commit().await.map_err(QueueError::of(WHAT))?;
    let reason = |flaw: &Flaw| {
        let known = reasons.iter().find(|(name, _)| flaw.belongs_to(name));
        known.map(|(_, reason)| reason.clone())
    };
    let fixed = flaws.into_iter().filter(|flaw| !left.contains(flaw)).collect();
    let left = left.into_iter().map(|flaw| (flaw.clone(), reason(&flaw))).collect();
    Ok(Repaired { fixed, left, recounted, ..Repaired::default() })
}

/// A repair in its transaction.
struct Repair<'a> {
    connection: &'a mut SqliteConnection,
    made: &'a Schema,
    flaws: &'a [Flaw],
    /// Why an object could not be created, by its name.
    reasons: Vec<(String, String)>,
}

impl<'a> Repair<'a> {
    /// Recreates missing and altered objects, except triggers. Drops all of certcommit's triggers, so that they don't reject
    /// the repair, and fire in their original order once they are recreated.
    async fn recreate_objects(&mut self) -> Result<(), QueueError> {
        let found = Schema::of(self.connection).await?;
        for trigger in self.made.all("trigger").filter(|trigger| found.find(trigger).is_some()) {
            self.attempt(&trigger.name, &[format!("DROP TRIGGER {}", quoted(&trigger.name))]).await?;
        }
        for table in self.flawed("table") {
            let rebuilt = rebuild_table(self.connection, table, self.made, &found).await;
            self.note(&table.name, rebuilt)?;
        }
        let lost = sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM control)").fetch_one(&mut *self.connection);
        let is_control_lost = lost.await.unwrap_or(false);
        self.attempt("the rows", &self.missing_rows()).await?;
        if is_control_lost {
            // Without its row, it is unknown whether the queue was paused.
            let paused = pause(self.connection, &PauseCause::ControlLost.into()).await;
            self.note("the rows", paused.map_err(QueueError::of(WHAT)))?;
        }
        if self.is_flawed("resolutions") {
            self.attempt("resolutions", &[RESOLUTIONS.to_owned()]).await?;
        }
        for object in self.flawed("index").into_iter().chain(self.flawed("view")) {
            let drop = found.find(object).map(|_| format!("DROP {} {}", object.kind, quoted(&object.name)));
            // Dropping a view drops users' triggers on it.
            let others = found.all("trigger").filter(|trigger| object.kind == "view" && trigger.is_on(&object.name));
            let others = others.filter(|trigger| self.made.find(trigger).is_none());
            let created = [object].into_iter().chain(others).map(|object| object.sql.clone());
            self.attempt(&object.name, &drop.into_iter().chain(created).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    fn missing_rows(&self) -> Vec<String> {
        let states =
            State::ALL.map(|state| format!("INSERT OR IGNORE INTO state_counts (state) VALUES ('{}')", state.as_str()));
        let codes = self.made.status_codes.iter().filter(|_| self.is_flawed("status_codes")).map(|(status, text)| {
            format!("INSERT OR IGNORE INTO status_codes VALUES ({status}, '{}')", text.replace('\'', "''"))
        });
        [ROWS.to_owned()].into_iter().chain(states).chain(codes).collect()
    }

    /// Whether the counts were wrong.
    async fn recount(&mut self) -> bool {
        let corrected = sqlx::query(CORRECT).execute(&mut *self.connection).await;
        corrected.is_ok_and(|corrected| corrected.rows_affected() > 0)
    }

    async fn create_triggers(&mut self) -> Result<(), QueueError> {
        for trigger in self.made.all("trigger") {
            self.attempt(&trigger.name, std::slice::from_ref(&trigger.sql)).await?;
        }
        Ok(())
    }

    async fn raise_sequences(&mut self) -> Result<(), QueueError> {
        for (table, key) in SEQUENCES {
            let raise = format!(
                "UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max({key}), 0) FROM {table})) WHERE name = '{table}'"
            );
            self.attempt("the numbers", &[raise]).await?;
        }
        Ok(())
    }

    /// Marks it as a queue, and pauses it: pending submissions may have been sent, and the damage that led to the dump may
    /// have destroyed the record of that.
    async fn mark_and_pause(&mut self) -> Result<(), QueueError> {
        let mark = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
        sqlx::raw_sql(mark).execute(&mut *self.connection).await.map_err(QueueError::of(WHAT))?;
        pause(self.connection, &PauseCause::RestoredDump.into()).await.map_err(QueueError::of(WHAT))
    }

    /// Whether anything of this object is missing or altered.
    fn is_flawed(&self, object: &str) -> bool {
        self.flaws.iter().any(|flaw| flaw.belongs_to(object))
    }

    /// The objects of this kind that are missing or altered.
    fn flawed(&self, kind: &'static str) -> Vec<&'a Object> {
        let concerns = |flaw: &Flaw, object: &Object| match flaw.kind {
            "column" => kind == "table" && flaw.belongs_to(&object.name),
            // The flaws name a missing table, but not its indexes.
            "table" if kind == "index" => flaw.missing && flaw.name == object.table,
            other => kind == other && flaw.name == object.name,
        };
        self.made.all(kind).filter(|object| self.flaws.iter().any(|flaw| concerns(flaw, object))).collect()
    }

    async fn attempt(&mut self, name: &str, statements: &[String]) -> Result<(), QueueError> {
        let attempted = run_all(self.connection, statements).await;
        self.note(name, attempted)
    }

    /// Notes a failure that is due to the rows or the schema, and lets the rest of the repair continue.
    fn note(&mut self, name: &str, made: Result<(), QueueError>) -> Result<(), QueueError> {
        match made {
            Err(QueueError::Refused(reason) | QueueError::Failed(Fault { detail: reason, .. })) => {
                self.reasons.push((name.to_owned(), reason));
                Ok(())
            }
            made => made,
        }
    }
}
