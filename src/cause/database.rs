//! Why the database can't be used.

use std::fmt;

use super::quote::Quote;

/// Why the database can't be used: code, sentence and remedy of the queue's error. It is never stored: a database that can't be
/// used stores nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCause {
    /// The code of the error.
    pub code: &'static str,
    /// What happened.
    pub sentence: Quote,
    /// The one right thing to do next.
    pub remedy: Quote,
}

impl fmt::Display for DatabaseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence.fmt(f)
    }
}
