//! Why the queue is paused, why a submission waits, failed or is held, and why the database can't be used: as values.
//!
//! Each cause has a stable code and typed parameters, which are stored and which programs read; and for people, a sentence and
//! one remedy. No code depends on a sentence.

/// Declares an enum of causes, each with its meaning and its code. It is stored as `{"code": …, "parameters": {…}}`.
macro_rules! causes {
    ($(#[$doc:meta])* $name:ident {
        $($(#[doc = $meaning:literal])+ $variant:ident $({ $($fields:tt)* })? = $code:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "code", content = "parameters")]
        pub enum $name { $($(#[doc = $meaning])+ #[serde(rename = $code)] $variant $({ $($fields)* })?,)* }

        impl $name {
            /// Every code with its meaning.
            pub const CATALOGUE: &'static [(&'static str, &'static str)] = &[$(($code, concat!($($meaning),+)),)*];

            /// The code: it names the cause in the database, in the log and for programs, and never changes.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $code,)* }
            }
        }
    };
}

mod database;
mod guidance;
mod incident;
mod pause;
mod quote;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use database::DatabaseCause;
pub use incident::{Incident, Probes};
pub use pause::{KeySource, PauseCause};
pub use quote::{ApiError, Quote};
pub use row::RowCause;

/// Why something doesn't go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cause {
    /// The queue is paused, or reads nothing back.
    Pause(PauseCause),
    /// One submission waits, failed or is held.
    Row(RowCause),
    /// The database can't be used.
    #[serde(skip)]
    Database(DatabaseCause),
}

impl Cause {
    /// Every code that is stored, with its meaning, as `docs/CAUSES.md` has them.
    pub fn catalogue() -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [PauseCause::CATALOGUE, RowCause::CATALOGUE];
        all.into_iter().flatten().map(|(code, meaning)| (*code, meaning.trim()))
    }

    /// The cause that was stored as this code and these parameters (JSON). None: this version doesn't know the code, or the
    /// parameters aren't those of the code; then the text that was stored beside them is all there is.
    #[must_use]
    pub fn from_parts(code: &str, parameters: Option<&str>) -> Option<Self> {
        let stored = match parameters {
            Some(parameters) => {
                json!({ "code": code, "parameters": serde_json::from_str::<Value>(parameters).ok()? })
            }
            None => json!({ "code": code }),
        };
        serde_json::from_value(stored).ok()
    }

    /// The code: it names the cause in the database, in the log and for programs, and never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pause(cause) => cause.code(),
            Self::Row(cause) => cause.code(),
            Self::Database(cause) => cause.code,
        }
    }

    /// The parameters, as they are stored beside the code: JSON. None if the cause has none, or isn't stored.
    #[must_use]
    pub fn parameters(&self) -> Option<String> {
        let stored = serde_json::to_value(self).ok()?;
        stored.get("parameters").map(Value::to_string)
    }

    /// The one right thing to do next.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Pause(cause) => cause.remedy(),
            Self::Row(cause) => cause.remedy("ID"),
            Self::Database(cause) => cause.remedy.to_string(),
        }
    }
}

impl fmt::Display for Cause {
    /// What happened, in one sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause(cause) => cause.fmt(f),
            Self::Row(cause) => cause.fmt(f),
            Self::Database(cause) => cause.fmt(f),
        }
    }
}

impl From<PauseCause> for Cause {
    fn from(cause: PauseCause) -> Self {
        Self::Pause(cause)
    }
}

impl From<RowCause> for Cause {
    fn from(cause: RowCause) -> Self {
        Self::Row(cause)
    }
}

impl From<DatabaseCause> for Cause {
    fn from(cause: DatabaseCause) -> Self {
        Self::Database(cause)
    }
}
