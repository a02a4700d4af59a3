//! Making a queue whole again whose rules are gone: what certcommit made is made once more around the rows, which stay as
//! they are. What is gone with its rows can't be made again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::backup::copy_as_it_is;
use super::daemon_lock::DaemonLock;
use super::error::QueueError;
use super::file_identity::beside;
use super::location::{Location, Target};
use super::open::{APPLICATION_ID, Identity, MIGRATIONS, connect, identify, none_there, pending};
use super::rebuild::{make_table, quoted};
use super::savepoint;
use super::schema::{self, Flaw, Object, Schema};
use super::shared_file::FILE_MODE;
use super::state_counts;
use crate::clock::UnixMillis;

/// The rows that have to be there. Without its row, nobody knows whether the queue was paused.
const ROWS: &str = "INSERT OR IGNORE INTO daemon (id) VALUES (1);
    INSERT OR IGNORE INTO insert_guard VALUES (1, 0);
    INSERT OR IGNORE INTO state_counts (state) VALUES ('pending'), ('in_flight'), ('in_doubt'), ('submitted'), ('failed'),
      ('held'), ('canceled');
    INSERT OR IGNORE INTO control (id, paused, pause_reason)
      VALUES (1, 1, 'the table control was lost and made again: whether the queue was paused is not known')";

/// What operators established, as far as their submissions tell it still.
const RESOLUTIONS: &str = "INSERT OR IGNORE INTO resolutions (certificate_id, order_id, resolved_at)
      SELECT certificate_id, order_id, coalesce(finished_at, updated_at) FROM submissions
       WHERE state = 'submitted' AND resolved_by = 'operator'";

/// Numbers that were given out are given out no second time.
const SEQUENCES: [(&str, &str); 2] = [("submissions", "id"), ("requests", "number")];

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// The copy of the queue as it was before; none, if there was nothing to do.
    pub copy: Option<PathBuf>,
    /// What is whole again.
    pub mended: Vec<Flaw>,
    /// What is not, with the reason if there is one.
    pub left: Vec<(Flaw, Option<String>)>,
    /// Whether `state_counts` was wrong, and is counted anew.
    pub recounted: bool,
    /// If it was read in from a dump, and is paused: what it holds.
    pub saved: Option<Saved>,
}

/// What a dump had left.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Saved {
    /// Submissions that are there.
    pub submissions: i64,
    /// The highest id that was given out, one for each that was ever enqueued and for some that were not.
    pub ids: i64,
    /// Certificates with requests on record that are not in the queue: deleted, or lost.
    pub strays: i64,
}

/// Repairs the queue at this path, which no daemon may hold, after it has written a copy beside it. All of what can be
/// mended is, or nothing.
///
/// # Errors
/// When a daemon holds it, it is no queue or a damaged one, or the copy can't be written.
pub async fn repair(target: impl Into<Target<'_>>, now: UnixMillis) -> Result<Repaired, QueueError> {
    let path = &Location::find(target.into())?.path;
    if !path.try_exists().map_err(|error| QueueError::io(path, error))? {
        return Err(none_there(path, QueueError::Missing));
    }
    let _lock = DaemonLock::beside(path).await?;
    let (applied, was_a_dump) = match identify(path).await? {
        Identity::Empty => return Err(none_there(path, QueueError::Empty)),
        Identity::Queue(applied) => (applied, false),
        Identity::Unmarked(applied) => (applied, true),
    };
    // A newer one is not ours to repair; an older one is repaired as the version that it is.
    pending(path, &applied, &MIGRATIONS)?;
    let mut connection = connect(path).await?;
    let flaws = schema::flaws(&mut connection, &MIGRATIONS).await?;
    if flaws.is_empty() && !was_a_dump && !is_miscounted(&mut connection).await? {
        return Ok(Repaired::default());
    }
    let copy = beside(path, &format!(".before-repair-{}", now.seconds()));
    copy_as_it_is(&mut connection, &copy, FILE_MODE).await?;
    let made = Schema::made_by(&MIGRATIONS, &applied).await?;
    let mut repaired = mend(&mut connection, &made, flaws, was_a_dump).await?;
    if was_a_dump {
        // The shell makes files that the group can't write.
        let opened = fs::set_permissions(path, Permissions::from_mode(FILE_MODE));
        opened.map_err(|error| QueueError::io(path, error))?;
        repaired.saved = Some(saved(&mut connection).await?);
    }
    repaired.copy = Some(copy);
    connection.close().await.map_err(QueueError::of("closing"))?;
    Ok(repaired)
}

async fn saved(connection: &mut SqliteConnection) -> Result<Saved, QueueError> {
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
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM state_counts n
                         WHERE n.count IS NOT (SELECT count(*) FROM submissions s WHERE s.state = n.state))",
    )
    .fetch_one(connection)
    .await
    .map_err(QueueError::of("counting the submissions"))
}

async fn mend(
    connection: &mut SqliteConnection,
    made: &Schema,
    flaws: Vec<Flaw>,
    was_a_dump: bool,
) -> Result<Repaired, QueueError> {
    let failed = QueueError::of("repairing");
    // Otherwise, a table that moves aside would take along what others wrote about it.
    let careful = "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON";
    sqlx::raw_sql(careful).execute(&mut *connection).await.map_err(&failed)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let mut mending = Mending { connection: &mut transaction, made, flaws: &flaws, reasons: Vec::new() };
    let recounted = mending.mend().await?;
    if was_a_dump {
        mending.mark().await?;
    }
    let reasons = mending.reasons;
    let left = schema::flaws(&mut transaction, &MIGRATIONS).await?;
    transaction.commit().await.map_err(&failed)?;
    let reason = |flaw: &Flaw| {
        let known = reasons.iter().find(|(name, _)| flaw.belongs_to(name));
        known.map(|(_, reason)| reason.clone())
    };
    let mended = flaws.into_iter().filter(|flaw| !left.contains(flaw)).collect();
    let left = left.into_iter().map(|flaw| (flaw.clone(), reason(&flaw))).collect();
    Ok(Repaired { mended, left, recounted, ..Repaired::default() })
}

/// A repair in its transaction.
struct Mending<'a> {
    connection: &'a mut SqliteConnection,
    made: &'a Schema,
    flaws: &'a [Flaw],
    /// Why an object could not be made.
    reasons: Vec<(String, String)>,
}

impl<'a> Mending<'a> {
    /// Whether the counts were wrong.
    async fn mend(&mut self) -> Result<bool, QueueError> {
        let found = Schema::of(self.connection).await?;
        // All of the rules, so that they fire in the order in which they were made; and beneath them, nothing is refused.
        if !self.flaws.is_empty() {
            self.drop_rules(&found).await?;
        }
        for table in self.flawed("table") {
            let made = make_table(self.connection, table, self.made, &found).await;
            self.note(&table.name, made)?;
        }
        if !self.flaws.is_empty() {
            let mut rows = vec![ROWS.to_owned()];
            if self.flaws.iter().any(|flaw| flaw.belongs_to("status_codes")) {
                rows.extend(self.made.status_codes.iter().map(|(status, text)| {
                    format!("INSERT OR IGNORE INTO status_codes VALUES ({status}, '{}')", text.replace('\'', "''"))
                }));
            }
            self.attempt("the rows", &rows).await?;
        }
        if self.flaws.iter().any(|flaw| flaw.belongs_to("resolutions")) {
            self.attempt("resolutions", &[RESOLUTIONS.to_owned()]).await?;
        }
        for kind in ["index", "view"] {
            for object in self.flawed(kind) {
                self.make(object, &found).await?;
            }
        }
        let counted = sqlx::query(state_counts::CORRECT).execute(&mut *self.connection).await;
        let recounted = counted.is_ok_and(|counted| counted.rows_affected() > 0);
        if !self.flaws.is_empty() {
            for trigger in self.made.all("trigger") {
                self.attempt(&trigger.name, &[trigger.sql()]).await?;
            }
        }
        for (table, key) in SEQUENCES {
            let raise = format!(
                "UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max({key}), 0) FROM {table})) WHERE name = '{table}'"
            );
            self.attempt("the numbers", &[raise]).await?;
        }
        Ok(recounted)
    }

    /// The objects of this kind that are missing or altered.
    fn flawed(&self, kind: &'static str) -> Vec<&'a Object> {
        let concerns = |flaw: &Flaw, object: &Object| match flaw.kind {
            "column" => kind == "table" && flaw.belongs_to(&object.name),
            other => kind == other && flaw.name == object.name,
        };
        let is_flawed = |object: &&Object| self.flaws.iter().any(|flaw| concerns(flaw, object));
        self.made.all(kind).filter(is_flawed).collect()
    }

    async fn drop_rules(&mut self, found: &Schema) -> Result<(), QueueError> {
        for trigger in self.made.all("trigger").filter(|trigger| found.find(trigger).is_some()) {
            self.attempt(&trigger.name, &[format!("DROP TRIGGER {}", quoted(&trigger.name))]).await?;
        }
        Ok(())
    }

    /// Makes an index or a view, in place of the one that is there.
    async fn make(&mut self, object: &Object, found: &Schema) -> Result<(), QueueError> {
        let drop = found.find(object).map(|_| format!("DROP {} {}", object.kind(), quoted(&object.name)));
        let theirs = self.theirs_on(object, found);
        let statements: Vec<String> = drop.into_iter().chain([object.sql()]).chain(theirs).collect();
        self.attempt(&object.name, &statements).await
    }

    /// Others' triggers on a view go with it.
    fn theirs_on(&self, object: &Object, found: &Schema) -> Vec<String> {
        let on = |trigger: &&Object| trigger.table.eq_ignore_ascii_case(&object.name);
        let theirs = found.all("trigger").filter(on).filter(|trigger| self.made.find(trigger).is_none());
        theirs.filter(|_| object.kind() == "view").map(Object::sql).collect()
    }

    /// Makes it what `certcommit run` takes for a queue. What is pending in it may have been sent: the damage that made
    /// somebody dump it may have taken the record of that.
    async fn mark(&mut self) -> Result<(), QueueError> {
        let failed = QueueError::of("repairing");
        let mark = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
        sqlx::raw_sql(mark).execute(&mut *self.connection).await.map_err(&failed)?;
        let why = "this queue was read in from a dump, and requests may be missing on record: run `certcommit verify --pending` \
                   to read back first what is pending, then `certcommit resume`";
        let pause = "UPDATE control SET paused = 1, pause_reason = ?";
        sqlx::query(pause).bind(why).execute(&mut *self.connection).await.map(drop).map_err(failed)
    }

    async fn attempt(&mut self, name: &str, statements: &[String]) -> Result<(), QueueError> {
        let attempted = attempt(self.connection, statements).await;
        self.note(name, attempted)
    }

    /// What the rows or the schema don't allow is told, and the rest goes on.
    fn note(&mut self, name: &str, made: Result<(), QueueError>) -> Result<(), QueueError> {
        match made {
            Err(QueueError::Refused(reason) | QueueError::Failed { detail: reason, .. }) => {
                self.reasons.push((name.to_owned(), reason));
                Ok(())
            }
            made => made,
        }
    }
}

/// Runs statements, all of them or none.
pub(super) async fn attempt(connection: &mut SqliteConnection, statements: &[String]) -> Result<(), QueueError> {
    savepoint::begin(connection).await?;
    let mut done = Ok(());
    for statement in statements {
        if done.is_ok() {
            let ran = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *connection).await;
            done = ran.map(drop).map_err(QueueError::of("repairing"));
        }
    }
    savepoint::end(connection, &done).await?;
    done
}
