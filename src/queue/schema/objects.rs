//! The objects of a schema: those that the migrations create, and those that a database has.

use std::collections::BTreeSet;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, SqlSafeStr as _};
use tokio::sync::OnceCell;

use super::migrations::MIGRATIONS;
use crate::queue::error::QueueError;

/// Everything that was created by a statement, except sqlx's table of migrations.
const OBJECTS: &str = "SELECT type, name, tbl_name, CAST(sql AS BLOB) FROM sqlite_master
    WHERE sql IS NOT NULL AND tbl_name <> '_sqlx_migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";

/// The rows that the rules and the daemon need.
pub(crate) const ROWS: &str = "SELECT 'control.' || id FROM control UNION ALL SELECT 'daemon.' || id FROM daemon
    UNION ALL SELECT 'insert_guard.' || id FROM insert_guard UNION ALL SELECT 'state_counts.' || state FROM state_counts";

/// The whole schema of this version.
static NEWEST: OnceCell<Schema> = OnceCell::const_new();

/// A table, an index, a trigger or a view.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// Which of these, as an SQL keyword.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    /// The table that it belongs to.
    pub(crate) table: String,
    /// The statement that creates it.
    pub(crate) sql: String,
}

impl Object {
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name.eq_ignore_ascii_case(&other.name)
    }

    pub(crate) fn is_on(&self, table: &str) -> bool {
        self.table.eq_ignore_ascii_case(table)
    }
}

/// A schema.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) objects: Vec<Object>,
    /// The rows that its migrations insert, where the rules and the daemon need them.
    pub(crate) rows: Vec<String>,
    /// The rows of the table `status_codes`.
    pub(crate) status_codes: Vec<(i64, String)>,
}

impl Schema {
    /// The schema that these migrations create, if only the applied ones are run.
    pub(crate) async fn made_by(migrations: &Migrator, applied: &BTreeSet<i64>) -> Result<Self, QueueError> {
        let all = migrations.iter().all(|migration| applied.contains(&migration.version));
        if all && std::ptr::eq(migrations, &raw const MIGRATIONS) {
            return NEWEST.get_or_try_init(|| make(migrations, applied)).await.cloned();
        }
        make(migrations, applied).await
    }

    /// The schema of a database.
    pub(crate) async fn of(connection: &mut SqliteConnection) -> Result<Self, QueueError> {
        let objects: Vec<(String, String, String, Vec<u8>)> =
            sqlx::query_as(OBJECTS).fetch_all(connection).await.map_err(QueueError::of("reading the schema"))?;
        let objects = objects.into_iter().map(|(kind, name, table, sql)| {
            let kind = ["table", "index", "trigger"].into_iter().find(|known| *known == kind).unwrap_or("view");
            Object { kind, name, table, sql: String::from_utf8_lossy(&sql).into_owned() }
        });
        Ok(Self { objects: objects.collect(), rows: Vec::new(), status_codes: Vec::new() })
    }

    /// The objects of this kind.
    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind == kind)
    }

    /// The object of the same kind and name in this schema.
    pub(crate) fn find(&self, object: &Object) -> Option<&Object> {
        self.objects.iter().find(|here| here.is(object))
    }

    pub(crate) fn has_table(&self, name: &str) -> bool {
        self.all("table").any(|table| table.name.eq_ignore_ascii_case(name))
    }
}

/// Runs the migrations in memory.
async fn make(migrations: &Migrator, applied: &BTreeSet<i64>) -> Result<Schema, QueueError> {
    let failed = QueueError::of("creating the schema to compare with");
    let mut model = SqliteConnection::connect("sqlite::memory:").await.map_err(&failed)?;
    for migration in migrations.iter().filter(|migration| applied.contains(&migration.version)) {
        sqlx::raw_sql(migration.sql.clone().into_sql_str()).execute(&mut model).await.map_err(&failed)?;
    }
    let Schema { objects, .. } = Schema::of(&mut model).await?;
    let rows = sqlx::query_scalar(ROWS).fetch_all(&mut model).await.map_err(&failed)?;
    let status_codes = sqlx::query_as("SELECT status, text FROM status_codes").fetch_all(&mut model);
    Ok(Schema { objects, rows, status_codes: status_codes.await.map_err(failed)? })
}
