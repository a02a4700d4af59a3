//! What a pause means for the submissions, whether anything may be lost or ordered twice, and how to see that it is over.

use super::PauseCause;

const WAITS: &str = "nothing is lost, and nothing is ordered twice: what is pending waits unsent, and what is in doubt is read back \
     before it is sent again";
const NOTHING_IS_REACHED: &str = "nothing is lost, and nothing is ordered twice: what is pending waits unsent, and what is in doubt \
     waits for its readback";
const UNKNOWN_TO_THE_COPY: &str = "what was enqueued after the copy was made is missing here, and what was ordered since looks as if it \
     were not. Nothing is sent until you resume";

impl PauseCause {
    /// What it means for the submissions: what waits, and whether anything may be lost, or ordered twice.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::ByOperator { .. } | Self::CaBusy { .. } | Self::RateExhausted { .. } => WAITS,
            Self::ControlLost => {
                "if an operator had paused the queue, the reason may still hold. Nothing is sent until you resume"
            }
            Self::RestoredBehind { .. }
            | Self::RestoredEmptied { .. }
            | Self::RestoredUnmarked { .. }
            | Self::RestoredBackup { .. }
            | Self::RestoredDump => UNKNOWN_TO_THE_COPY,
            Self::UncleanShutdown { .. } | Self::HeartbeatInFuture { .. } => {
                "if it was restored, what was enqueued or ordered since is unknown here. Nothing is sent until you resume"
            }
            Self::NoCredentials { .. }
            | Self::CredentialsExpired { .. }
            | Self::CredentialsRejected { .. }
            | Self::AccountRejected { .. }
            | Self::ClockSkew { .. }
            | Self::ApiUnreachable { .. } => NOTHING_IS_REACHED,
            Self::CommitDenied { .. } => {
                "what failed with this error before the pause has no order, and needs a retry; what is pending waits unsent"
            }
            Self::OutcomesUnknown { .. } => {
                "the last commits may have placed their orders: each is read back before it is sent again, so nothing is ordered \
                 twice"
            }
            Self::WritesRejected { .. } => {
                "the refused results may be orders that are placed; only their record is missing. They are in the daemon's memory and in \
                 its log, so don't kill it. If it dies all the same, their certificates are read back before anything is sent again"
            }
            Self::ReadbackDenied { .. } | Self::ReadbackFailing { .. } => {
                "what is in doubt may have an order; it waits for its readback, and isn't sent again before"
            }
            Self::ReadbackPaused { by } => by.consequence(),
        }
    }

    /// How to see that it is over.
    #[must_use]
    pub fn over_when(&self) -> &'static str {
        match self {
            Self::ByOperator { .. }
            | Self::ControlLost
            | Self::RestoredBehind { .. }
            | Self::RestoredEmptied { .. }
            | Self::RestoredUnmarked { .. }
            | Self::RestoredBackup { .. }
            | Self::RestoredDump
            | Self::UncleanShutdown { .. }
            | Self::HeartbeatInFuture { .. } => {
                "`certcommit resume` prints `resumed`, and `status` says RUNNING. What was read back without an order is sent after a \
                 second readback, `verify.resend_after` later; `status` then shows 0 in doubt"
            }
            Self::NoCredentials { .. } | Self::CredentialsExpired { .. } => {
                "the source has keys: the log has the event `resumed`, and `status` says RUNNING"
            }
            Self::WritesRejected { .. } => "the next try, within 10 s, is accepted: the log has the event `resumed`",
            Self::ReadbackDenied { .. } | Self::ReadbackFailing { .. } | Self::ReadbackPaused { .. } => {
                "a readback succeeds: the log has the event `resumed`, and `status` says RUNNING without the words \"without readback\""
            }
            Self::CredentialsRejected { .. }
            | Self::AccountRejected { .. }
            | Self::ClockSkew { .. }
            | Self::ApiUnreachable { .. }
            | Self::CaBusy { .. }
            | Self::CommitDenied { .. }
            | Self::RateExhausted { .. }
            | Self::OutcomesUnknown { .. } => {
                "a probe succeeds: the log has the event `resumed` (after a restart, `submitted`), and `status` says RUNNING"
            }
        }
    }
}
