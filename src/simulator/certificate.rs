//! What the service knows about one certificate.

use tokio::time::Instant;

/// The statuses that allow a commit: enterprise-grade, and free.
const PENDING_SUBMISSION: [i64; 2] = [5, 13];
/// The default status.
const FREE_PENDING_SUBMISSION: i64 = 13;
const SUBMITTED: i64 = 8;

/// One certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) status: i64,
    pub(super) order_id: Option<String>,
    /// When its order was placed, if a commit placed it.
    pub(super) ordered_at: Option<Instant>,
    /// Orders that commits have placed.
    pub(super) orders: usize,
    /// Commits that passed the gateway, refused ones included.
    pub(super) commits: u64,
}

impl Default for Certificate {
    fn default() -> Self {
        Self { status: FREE_PENDING_SUBMISSION, order_id: None, ordered_at: None, orders: 0, commits: 0 }
    }
}

impl Certificate {
    /// Places an order, if the status allows it.
    ///
    /// # Errors
    /// The error code of the refusal.
    pub(super) fn commit(&mut self, order_id: String, at: Instant) -> Result<(), &'static str> {
        if !PENDING_SUBMISSION.contains(&self.status) {
            return Err("FailedOperation.InvalidCertificateStatusCode");
        }
        self.status = SUBMITTED;
        self.order_id = Some(order_id);
        self.ordered_at = Some(at);
        self.orders += 1;
        Ok(())
    }
}
