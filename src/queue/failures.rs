//! Failed submissions, in groups that share the server's answer, the verify type and the reference.

use super::connection::Queue;
use super::error::QueueError;
use super::untrusted_text::UntrustedText;

/// Groups of failed submissions that meet the conditions which are given: an error code, a reference.
const GROUPS: &str = "SELECT error_code, error_message, verify_type, reference, count(*) AS count,
            CAST(min(updated_at) AS INTEGER) AS since FROM submissions
     WHERE state = 'failed' AND (?1 IS NULL OR error_code = ?1) AND (?2 IS NULL OR reference = ?2)
     GROUP BY error_code, error_message, verify_type, reference ORDER BY count(*) DESC, error_code, reference LIMIT ?3";

/// Failed submissions that share all of this.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailedGroup {
    /// The server's error code; none if they failed after a readback, or by an operator's decision.
    pub error_code: Option<UntrustedText>,
    /// The server's words; in `status`, with ID in place of the certificate's.
    pub error_message: Option<UntrustedText>,
    /// How the domain was to be validated.
    pub verify_type: Option<UntrustedText>,
    /// The caller's key.
    pub reference: Option<UntrustedText>,
    /// How many there are.
    pub count: i64,
    /// When the first of them failed, in unix seconds.
    pub since: Option<i64>,
}

impl Queue {
    /// The largest groups of failed submissions with this error code and this reference, if they are given; at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn failed_groups(
        &mut self,
        error_code: Option<&str>,
        reference: Option<&str>,
        most: u32,
    ) -> Result<Vec<FailedGroup>, QueueError> {
        sqlx::query_as(GROUPS)
            .bind(error_code)
            .bind(reference)
            .bind(most)
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::of("grouping the failed submissions"))
    }
}
