//! Quoted texts inside a cause.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::escaping::printable;

/// Longer texts are cut.
const LONGEST: usize = 1000;

/// A quoted text: on one line, without control characters, and not too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Quote(String);

impl Quote {
    /// The text, escaped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(printable(text, LONGEST))
    }

    /// The escaped text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Quote {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&str> for Quote {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The API's answer to a request that it did not accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Its error code.
    pub code: Quote,
    /// Its message.
    pub message: Quote,
    /// Its ID for the request, which the vendor's support asks for.
    pub request_id: Option<Quote>,
}

impl ApiError {
    /// From the parts of the answer.
    #[must_use]
    pub fn new(code: &str, message: &str, request_id: Option<&str>) -> Self {
        Self { code: code.into(), message: message.into(), request_id: request_id.map(Quote::new) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.code, self.message, WithId(self.request_id.as_ref()))
    }
}

/// The ID of the request, at the end of a sentence.
pub(super) struct WithId<'a>(pub(super) Option<&'a Quote>);

impl fmt::Display for WithId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, " (RequestId {id})"))
    }
}
