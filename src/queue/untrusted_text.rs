//! Texts from columns that anyone may have written, or that hold a server's message.

use std::fmt;
use std::ops::Deref;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{Sqlite, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Type};

use crate::escaping::printable;

/// Longer texts are truncated to this many characters.
const MAX_CHARACTERS: usize = 1000;

/// The value of a column, whatever it is, in a form that is safe to show and to log: one line of limited length, without
/// control characters. Bytes that aren't UTF-8 and values that aren't text don't fail the query that reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UntrustedText(String);

impl UntrustedText {
    fn new(bytes: &[u8]) -> Self {
        Self(printable(&String::from_utf8_lossy(bytes), MAX_CHARACTERS))
    }

    /// For tests of code that shows such text.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self::new(text.as_bytes())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for UntrustedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UntrustedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Type<Sqlite> for UntrustedText {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(_: &SqliteTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Sqlite> for UntrustedText {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        // SQLite converts numbers to text here.
        <&[u8] as Decode<Sqlite>>::decode(value).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;
    use sqlx::sqlite::SqliteConnection;

    use super::*;

    #[tokio::test]
    async fn any_value_of_a_column_can_be_shown() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let cases = [
            ("SELECT 'plain é🙂'", "plain é🙂"),
            ("SELECT 'a' || char(27) || '[2J' || char(10) || 'b'", r"a\u{1b}[2J\nb"),
            ("SELECT CAST(x'61ff62' AS TEXT)", "a\u{fffd}b"),
            ("SELECT x'6100ff'", "a\\u{0}\u{fffd}"),
            ("SELECT 42", "42"),
            ("SELECT 1.5", "1.5"),
            ("SELECT ''", ""),
        ];
        for (query, expected) in cases {
            let value: UntrustedText = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
            assert_eq!(&*value, expected, "{query}");
        }
        let long: UntrustedText =
            sqlx::query_scalar("SELECT printf('%.65536c', 'x')").fetch_one(&mut connection).await.unwrap();
        assert_eq!(long.chars().count(), MAX_CHARACTERS + 1);
        let none: Option<UntrustedText> = sqlx::query_scalar("SELECT NULL").fetch_one(&mut connection).await.unwrap();
        assert_eq!(none, None);
    }
}
