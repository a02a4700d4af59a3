//! A table as certcommit made it, around the rows that are there, with what others added to it.

use sqlx::sqlite::SqliteConnection;

use super::error::QueueError;
use super::repair::attempt;
use super::schema::{Object, Schema};
use super::sql_tokens::{Part, definition};

/// Tables whose rows are an account of what happened, and can't be made again.
const ACCOUNTS: [&str; 2] = ["submissions", "requests"];

/// Makes a table of this schema that is missing or altered.
///
/// # Errors
/// [`QueueError::Refused`] or [`QueueError::Failed`] with the reason, if the rows that are there don't allow it; then
/// nothing is changed.
pub(super) async fn make_table(
    connection: &mut SqliteConnection,
    made: &Object,
    schema: &Schema,
    found: &Schema,
) -> Result<(), QueueError> {
    let is_account = ACCOUNTS.contains(&made.name.as_str());
    let Some(here) = found.find(made) else {
        return if is_account {
            Err(gone("its rows are gone with it"))
        } else {
            attempt(connection, &[made.sql()]).await
        };
    };
    let stored = stored_columns(connection, here).await?;
    let made_sql = made.sql();
    let has_all = definition(&made_sql)
        .parts
        .iter()
        .filter_map(Part::column)
        .all(|column| stored.iter().any(|stored| stored.eq_ignore_ascii_case(column)));
    if !has_all && is_account {
        return Err(gone("what was in the missing columns is gone with them"));
    }
    let aside = quoted(&format!("{} before repair", made.name));
    let name = quoted(&made.name);
    let mut statements = vec![format!("ALTER TABLE {name} RENAME TO {aside}"), with_what_others_added(made, here)];
    if has_all {
        let columns = stored.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        statements.push(format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {aside}"));
        if let Some(number) = sequence(connection, &made.name).await? {
            statements.push(format!(
                "UPDATE sqlite_sequence SET seq = max(seq, {number}) WHERE name = '{table}';
                 INSERT INTO sqlite_sequence (name, seq) SELECT '{table}', {number}
                  WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{table}')",
                table = made.name,
            ));
        }
    }
    statements.push(format!("DROP TABLE {aside}"));
    // They went with the table. Certcommit's own triggers come last.
    let on_it = |object: &&Object| object.table.eq_ignore_ascii_case(&made.name);
    let triggers = found.all("trigger").filter(|trigger| schema.find(trigger).is_none());
    statements.extend(found.all("index").chain(triggers).filter(on_it).map(Object::sql));
    attempt(connection, &statements).await
}

fn gone(reason: &str) -> QueueError {
    QueueError::Refused(format!("{reason}; restore a backup"))
}

/// The statement that makes the table, with the columns that others added.
fn with_what_others_added(made: &Object, here: &Object) -> String {
    let (made_sql, here_sql) = (made.sql(), here.sql());
    let (made_as, here_as) = (definition(&made_sql), definition(&here_sql));
    let is_theirs = |part: &&Part<'_>| {
        part.column().is_some_and(|column| !made_as.parts.iter().filter_map(Part::column).any(|ours| ours == column))
    };
    let added: String = here_as.parts.iter().filter(is_theirs).map(|part| format!("  , {}\n", part.text)).collect();
    let (head, tail) = made_sql.split_at(made_as.end);
    format!("{head}{added}{tail}")
}

/// The columns that rows hold values in, in other words not the generated ones.
async fn stored_columns(connection: &mut SqliteConnection, table: &Object) -> Result<Vec<String>, QueueError> {
    sqlx::query_scalar("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0")
        .bind(&table.name)
        .fetch_all(connection)
        .await
        .map_err(QueueError::of("repairing"))
}

/// The highest number that was given out in a table that counts on.
async fn sequence(connection: &mut SqliteConnection, table: &str) -> Result<Option<i64>, QueueError> {
    sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = ?")
        .bind(table)
        .fetch_optional(connection)
        .await
        .map_err(QueueError::of("repairing"))
}

/// A name as SQL takes any.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
