//! The schema as this version makes it, and what is missing of it or altered. Tools that rewrite a table drop its triggers
//! without a word, and with them the rules of the queue. What somebody added is theirs.

use std::collections::BTreeSet;
use std::fmt;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, SqlSafeStr as _};
use tokio::sync::OnceCell;

use super::error::QueueError;
use super::open::{MIGRATIONS, Queue};
use super::sql_tokens::{Part, definition, words};

/// Everything that has a text; the table of migrations is sqlx's.
const OBJECTS: &str = "SELECT type, name, tbl_name, CAST(sql AS BLOB) AS sql FROM sqlite_master
    WHERE sql IS NOT NULL AND tbl_name <> '_sqlx_migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";

/// The rows that the rules and the daemon count on: which of them are missing.
const MISSING_ROWS: &str = "SELECT 'control.1' WHERE NOT EXISTS (SELECT 1 FROM control WHERE id = 1) UNION ALL
    SELECT 'daemon.1' WHERE NOT EXISTS (SELECT 1 FROM daemon WHERE id = 1) UNION ALL
    SELECT 'insert_guard.1' WHERE NOT EXISTS (SELECT 1 FROM insert_guard WHERE id = 1) UNION ALL
    SELECT 'state_counts.' || state FROM (SELECT 'pending' AS state UNION ALL SELECT 'in_flight' UNION ALL SELECT 'in_doubt'
      UNION ALL SELECT 'submitted' UNION ALL SELECT 'failed' UNION ALL SELECT 'held' UNION ALL SELECT 'canceled') states
     WHERE state NOT IN (SELECT state FROM state_counts)";

/// The whole schema of this version.
static NEWEST: OnceCell<Schema> = OnceCell::const_new();

/// Something of the schema that is not as certcommit made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// What it is: a table, a column, an index, a trigger, a view or a row.
    pub(super) kind: &'static str,
    /// Its name; of a column or a row, after its table's.
    pub(super) name: String,
    /// Whether it is gone; if not, it is another one.
    pub(super) missing: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flaw = if self.missing { "missing" } else { "altered" };
        write!(f, "{} {} is {flaw}", self.kind, self.name)
    }
}

impl Flaw {
    /// For tests of what shows it.
    #[cfg(test)]
    pub(crate) fn of(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned(), missing: true }
    }

    /// Whether it is a table, a column, an index, a trigger, a view or a row.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its name; of a column or a row, after its table's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is this object, or of this table.
    pub(super) fn belongs_to(&self, object: &str) -> bool {
        self.name == object || self.name.split_once('.').is_some_and(|(table, _)| table == object)
    }
}

/// Flaws in one line.
pub(super) fn list(flaws: &[Flaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A table, an index, a trigger or a view.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Object {
    #[sqlx(rename = "type")]
    kind: String,
    pub(super) name: String,
    /// The table that it belongs to.
    #[sqlx(rename = "tbl_name")]
    pub(super) table: String,
    #[sqlx(rename = "sql")]
    text: Vec<u8>,
}

impl Object {
    /// Its statement.
    pub(super) fn sql(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The kind as a word of SQL.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind.as_str() {
            "table" => "table",
            "index" => "index",
            "trigger" => "trigger",
            _ => "view",
        }
    }

    fn is_of_a_table(&self) -> bool {
        matches!(self.kind(), "index" | "trigger")
    }

    fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name.eq_ignore_ascii_case(&other.name)
    }
}

/// A schema.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    objects: Vec<Object>,
    /// What the table of that name is made with.
    pub(super) status_codes: Vec<(i64, String)>,
}

impl Schema {
    /// The one that these migrations make.
    pub(super) async fn made_by(migrations: &Migrator, applied: &BTreeSet<i64>) -> Result<Self, QueueError> {
        let all = migrations.iter().all(|migration| applied.contains(&migration.version));
        if all && std::ptr::eq(migrations, &raw const MIGRATIONS) {
            return NEWEST.get_or_try_init(|| make(migrations, applied)).await.cloned();
        }
        make(migrations, applied).await
    }

    /// The one that is there.
    pub(super) async fn of(connection: &mut SqliteConnection) -> Result<Self, QueueError> {
        let failed = QueueError::of("reading the schema");
        let objects = sqlx::query_as(OBJECTS).fetch_all(connection).await.map_err(failed)?;
        Ok(Self { objects, status_codes: Vec::new() })
    }

    /// The objects of this kind.
    pub(super) fn all(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind == kind)
    }

    /// The same object as it is here.
    pub(super) fn find(&self, object: &Object) -> Option<&Object> {
        self.objects.iter().find(|here| here.is(object))
    }

    /// What of this schema is missing or altered in the one that was found.
    pub(super) fn flaws_in(&self, found: &Self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for object in &self.objects {
            let flaw = |missing| Flaw { kind: object.kind(), name: object.name.clone(), missing };
            match found.find(object) {
                // With its table, it goes without saying.
                None if object.is_of_a_table() && !found.has_table(&object.table) => {}
                None => flaws.push(flaw(true)),
                Some(here) if object.kind == "table" => flaws.extend(flaws_in_table(object, here)),
                Some(here) if words(&object.sql()) != words(&here.sql()) => flaws.push(flaw(false)),
                Some(_) => {}
            }
        }
        flaws
    }

    fn has_table(&self, name: &str) -> bool {
        self.all("table").any(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// Others' triggers on the tables of this schema.
    fn foreign_triggers<'a>(&'a self, found: &'a Self) -> impl Iterator<Item = &'a Object> {
        found.all("trigger").filter(move |trigger| self.has_table(&trigger.table) && self.find(trigger).is_none())
    }
}

/// A schema of its own, in memory.
async fn make(migrations: &Migrator, applied: &BTreeSet<i64>) -> Result<Schema, QueueError> {
    let failed = QueueError::of("making the schema to compare with");
    let mut model = SqliteConnection::connect("sqlite::memory:").await.map_err(&failed)?;
    for migration in migrations.iter().filter(|migration| applied.contains(&migration.version)) {
        sqlx::raw_sql(migration.sql.clone().into_sql_str()).execute(&mut model).await.map_err(&failed)?;
    }
    let mut schema = Schema::of(&mut model).await?;
    let status_codes = sqlx::query_as("SELECT status, text FROM status_codes").fetch_all(&mut model);
    schema.status_codes = status_codes.await.map_err(failed)?;
    Ok(schema)
}

/// Each column and constraint has to be there as it was made; more of them may be.
fn flaws_in_table(made: &Object, found: &Object) -> Vec<Flaw> {
    let (made_sql, found_sql) = (made.sql(), found.sql());
    let (made_as, found_as) = (definition(&made_sql), definition(&found_sql));
    let altered = || Flaw { kind: "table", name: made.name.clone(), missing: false };
    let mut flaws = Vec::new();
    for part in &made_as.parts {
        if found_as.parts.iter().any(|here| here.words == part.words) {
            continue;
        }
        flaws.push(match part.column() {
            Some(column) => {
                let missing = !found_as.parts.iter().filter_map(Part::column).any(|here| here == column);
                Flaw { kind: "column", name: format!("{}.{column}", made.name), missing }
            }
            None => altered(),
        });
    }
    if made_as.options != found_as.options {
        flaws.push(altered());
    }
    flaws
}

/// The migrations that a database went through.
pub(super) async fn applied(connection: &mut SqliteConnection) -> Result<BTreeSet<i64>, sqlx::Error> {
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(connection).await?;
    Ok(versions.into_iter().collect())
}

/// What is missing or altered in a database, by the migrations that it went through.
pub(super) async fn flaws(connection: &mut SqliteConnection, migrations: &Migrator) -> Result<Vec<Flaw>, QueueError> {
    let failed = QueueError::of("comparing the schema");
    let applied = applied(&mut *connection).await.map_err(&failed)?;
    let mut flaws = Schema::made_by(migrations, &applied).await?.flaws_in(&Schema::of(&mut *connection).await?);
    // With a table gone, its rows can't be asked for.
    if !flaws.iter().any(|flaw| matches!(flaw.kind, "table" | "column")) {
        let rows: Vec<String> = sqlx::query_scalar(MISSING_ROWS).fetch_all(connection).await.map_err(failed)?;
        flaws.extend(rows.into_iter().map(|name| Flaw { kind: "row", name, missing: true }));
    }
    Ok(flaws)
}

impl Queue {
    /// What of the schema is missing or altered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn flaws(&mut self) -> Result<Vec<Flaw>, QueueError> {
        flaws(&mut self.connection, &MIGRATIONS).await
    }

    /// The names of others' triggers on certcommit's tables, each with its table's. They are theirs, and can refuse what
    /// certcommit writes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn foreign_triggers(&mut self) -> Result<Vec<String>, QueueError> {
        let applied = applied(&mut self.connection).await.map_err(QueueError::of("comparing the schema"))?;
        let made = Schema::made_by(&MIGRATIONS, &applied).await?;
        let found = Schema::of(&mut self.connection).await?;
        let named = |trigger: &Object| format!("{} on {}", trigger.name, trigger.table);
        Ok(made.foreign_triggers(&found).map(named).collect())
    }

    /// Holds the schema to be whole from now on: each turn compares it, if somebody changed it since.
    ///
    /// # Errors
    /// [`QueueError::Altered`], or when the database fails.
    pub async fn insist_on_rules(&mut self) -> Result<(), QueueError> {
        let failed = QueueError::of("comparing the schema");
        // In one transaction, so that it is the version of what was compared.
        let mut transaction = self.connection.begin().await.map_err(&failed)?;
        let flaws = flaws(&mut transaction, &MIGRATIONS).await?;
        let version =
            sqlx::query_scalar("PRAGMA schema_version").fetch_one(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        if flaws.is_empty() {
            self.compared = Some(version);
            return Ok(());
        }
        Err(self.altered(&flaws))
    }

    /// The error that these flaws are.
    #[must_use]
    pub fn altered(&self, flaws: &[Flaw]) -> QueueError {
        QueueError::Altered { path: self.path().to_owned(), flaws: list(flaws) }
    }

    /// From now on, the schema may be what it will: for what is to be written all the same.
    pub fn waive_rules(&mut self) {
        self.compared = None;
    }
}
