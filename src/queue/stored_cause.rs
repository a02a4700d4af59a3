//! Causes as stored in the database: a code, and parameters as JSON.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{Sqlite, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Type};

use super::untrusted_text::UntrustedText;
use crate::cause::Cause;

/// The stored parameters of a cause, which anyone may have written. They are only shown as part of a cause, which escapes
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// For tests of code that shows parameters.
    #[cfg(test)]
    pub(crate) fn of(json: &str) -> Self {
        Self(json.to_owned())
    }
}

/// The cause stored as this code and these parameters, if this version knows it.
pub(super) fn stored_cause(code: Option<&UntrustedText>, parameters: Option<&Parameters>) -> Option<Cause> {
    Cause::from_parts(code?.as_str(), parameters.map(|Parameters(json)| json.as_str()))
}

impl Type<Sqlite> for Parameters {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(_: &SqliteTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Sqlite> for Parameters {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <&[u8] as Decode<Sqlite>>::decode(value).map(|bytes| Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}
