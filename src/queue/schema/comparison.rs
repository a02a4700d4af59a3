//! Which objects of the schema are missing or altered. Tools that rewrite a table silently drop its triggers, and with them
//! the rules of the queue. Objects that users added are allowed.

use std::fmt;
use std::path::Path;

use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;

use super::migrations::{MIGRATIONS, applied};
use super::objects::{Object, ROWS, Schema};
use super::tokens::{Part, definition, tokens};
use crate::queue::connection::Queue;
use crate::queue::error::QueueError;
use crate::queue::paths::shell_quoted;
use crate::queue::untrusted_text::UntrustedText;

const WHAT: &str = "comparing the schema";

/// A trigger that somebody added to a table of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTrigger {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
}

impl ForeignTrigger {
    /// The command that removes it from the database at this path.
    #[must_use]
    pub fn drop_command(&self, database: &Path) -> String {
        let statement = format!("DROP TRIGGER \"{}\"", self.name.replace('"', "\"\""));
        format!("sqlite3 {} {}", shell_quoted(database), shell_quoted(Path::new(&statement)))
    }
}

impl fmt::Display for ForeignTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.table)
    }
}

/// A part of the schema that is not as certcommit created it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    /// Whether it is missing, and not just altered.
    pub(crate) missing: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flaw = if self.missing { "missing" } else { "altered" };
        write!(f, "{} {} is {flaw}", self.kind, self.name)
    }
}

impl Flaw {
    /// For tests of code that shows flaws.
    #[cfg(test)]
    pub(crate) fn of(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned(), missing: true }
    }

    /// Whether it is a table, a column, an index, a trigger, a view or a row.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its name; for a column or a row, prefixed with its table's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is this object, or part of this table.
    pub(crate) fn belongs_to(&self, object: &str) -> bool {
        self.name == object || self.name.split_once('.').is_some_and(|(table, _)| table == object)
    }
}

/// What the found schema lacks of the expected one, or has in an altered form.
fn flaws_in(expected: &Schema, found: &Schema) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for object in &expected.objects {
        let flaw = |missing| Flaw { kind: object.kind, name: object.name.clone(), missing };
        match found.find(object) {
            // The missing table is reported instead.
            None if matches!(object.kind, "index" | "trigger") && !found.has_table(&object.table) => {}
            None => flaws.push(flaw(true)),
            Some(here) if object.kind == "table" => flaws.extend(flaws_in_table(object, here)),
            Some(here) if tokens(&object.sql) != tokens(&here.sql) => flaws.push(flaw(false)),
            Some(_) => {}
        }
    }
    flaws
}

/// Each column and constraint must be as it was created; more may have been added.
fn flaws_in_table(expected: &Object, found: &Object) -> Vec<Flaw> {
    let (expected_definition, found_definition) = (definition(&expected.sql), definition(&found.sql));
    let altered = || Flaw { kind: "table", name: expected.name.clone(), missing: false };
    let is_missing = |part: &&Part<'_>| !found_definition.parts.iter().any(|here| here.tokens == part.tokens);
    let mut flaws: Vec<Flaw> = expected_definition
        .parts
        .iter()
        .filter(is_missing)
        .map(|part| match part.column() {
            Some(column) => {
                let missing = !found_definition.columns().any(|here| here == column);
                Flaw { kind: "column", name: format!("{}.{column}", expected.name), missing }
            }
            None => altered(),
        })
        .collect();
    flaws.extend((expected_definition.options != found_definition.options).then(altered));
    flaws
}

/// What is missing or altered in a database's schema, compared with what its migrations create.
pub(crate) async fn flaws(connection: &mut SqliteConnection, migrations: &Migrator) -> Result<Vec<Flaw>, QueueError> {
    let applied = applied(&mut *connection).await.map_err(QueueError::of(WHAT))?;
    let expected = Schema::made_by(migrations, &applied).await?;
    let mut flaws = flaws_in(&expected, &Schema::of(&mut *connection).await?);
    // A missing table can't be queried.
    if !flaws.iter().any(|flaw| matches!(flaw.kind, "table" | "column")) {
        let rows: Vec<UntrustedText> =
            sqlx::query_scalar(ROWS).fetch_all(connection).await.map_err(QueueError::of(WHAT))?;
        let missing = expected.rows.into_iter().filter(|row| !rows.iter().any(|here| here.as_str() == row));
        flaws.extend(missing.map(|name| Flaw { kind: "row", name, missing: true }));
    }
    Ok(flaws)
}

/// The error of a schema with these flaws.
pub(crate) fn altered(path: &Path, flaws: &[Flaw]) -> QueueError {
    let flaws = flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    QueueError::Altered { path: path.to_owned(), flaws }
}

impl Queue {
    /// What is missing or altered in the schema.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn flaws(&mut self) -> Result<Vec<Flaw>, QueueError> {
        flaws(&mut self.connection, &MIGRATIONS).await
    }

    /// The triggers that others added to certcommit's tables, each with its table. They can reject certcommit's writes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn foreign_triggers(&mut self) -> Result<Vec<ForeignTrigger>, QueueError> {
        let applied = applied(&mut self.connection).await.map_err(QueueError::of(WHAT))?;
        let expected = Schema::made_by(&MIGRATIONS, &applied).await?;
        let found = Schema::of(&mut self.connection).await?;
        let foreign = found
            .all("trigger")
            .filter(|trigger| expected.has_table(&trigger.table) && expected.find(trigger).is_none());
        let name = |trigger: &Object| ForeignTrigger { name: trigger.name.clone(), table: trigger.table.clone() };
        Ok(foreign.map(name).collect())
    }

    /// From now on, the schema has to be intact: each batch compares it again if it changed.
    ///
    /// # Errors
    /// [`QueueError::Altered`], or when the database fails.
    pub async fn require_intact_schema(&mut self) -> Result<(), QueueError> {
        // In one transaction, so that the version is that of the schema that was compared.
        let mut transaction = self.connection.begin().await.map_err(QueueError::of(WHAT))?;
        let flaws = flaws(&mut transaction, &MIGRATIONS).await?;
        let version = sqlx::query_scalar("PRAGMA schema_version").fetch_one(&mut *transaction).await;
        transaction.commit().await.map_err(QueueError::of(WHAT))?;
        if !flaws.is_empty() {
            return Err(self.altered(&flaws));
        }
        self.compared = Some(version.map_err(QueueError::of(WHAT))?);
        Ok(())
    }

    /// From now on, the schema may be altered: whatever can still be written is written.
    pub fn allow_altered_schema(&mut self) {
        self.compared = None;
    }

    /// The error of a schema with these flaws.
    #[must_use]
    pub fn altered(&self, flaws: &[Flaw]) -> QueueError {
        altered(self.path(), flaws)
    }
}
