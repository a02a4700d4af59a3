//! Why the queue, or its readback, is paused.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::quote::{ApiError, Quote, WithId};
use crate::clock::{UnixMillis, rough};

/// Where the keys in use come from, for the operator who replaces them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The environment of the daemon, which is that of its start.
    Environment,
    /// The directory that systemd made when the service started.
    Systemd,
    /// A file, which is read again.
    File {
        /// Where it lies.
        path: Quote,
    },
    /// The role of the machine, whose keys the metadata service renews.
    Role {
        /// Its name.
        name: Quote,
    },
    /// The program that runs the daemon.
    Caller,
}

causes! {
    /// Why the queue is paused, or reads nothing back.
    PauseCause {
        /// An operator paused it.
        ByOperator {
            /// In the operator's words.
            reason: Option<Quote>,
        } = "paused_by_operator",
        /// The database has fewer requests on record than were made.
        RestoredBehind {
            /// The newest request on record.
            newest: i64,
            /// The newest that was made, by the mark beside the database.
            made: i64,
        } = "restored_behind",
        /// Requests were made, and none is on record.
        RestoredEmptied {
            /// How many were made.
            made: i64,
        } = "restored_emptied",
        /// The restore marker beside the database, which holds how many requests were made, is missing.
        RestoredUnmarked {
            /// The newest request on record.
            newest: i64,
        } = "restored_unmarked",
        /// The database is a backup that `certcommit backup` wrote.
        RestoredBackup {
            /// When it was written, in unix seconds.
            written_at: i64,
        } = "restored_backup",
        /// The database was read in from a dump.
        RestoredDump = "restored_dump",
        /// The row `control` was lost, and is made anew.
        ControlLost = "control_lost",
        /// The last run died, and was silent for longer than a machine takes to come back.
        UncleanShutdown {
            /// For so many seconds.
            silent_s: u64,
        } = "unclean_shutdown",
        /// The last run died, and wrote its last heartbeat in the future of this machine's clock.
        HeartbeatInFuture {
            /// So many seconds ahead.
            ahead_s: u64,
        } = "heartbeat_in_future",
        /// The source of the credentials has none at present.
        NoCredentials {
            /// What it answered; none while it has not answered.
            why: Option<Quote>,
        } = "no_credentials",
        /// The temporary keys expired, and the source has no others at present.
        CredentialsExpired {
            /// What it answered; none while it has not answered.
            why: Option<Quote>,
        } = "credentials_expired",
        /// The API rejects the keys.
        CredentialsRejected {
            /// Its answer.
            error: ApiError,
            /// Where the keys come from.
            keys: KeySource,
        } = "credentials_rejected",
        /// The API rejects the account, or where or how it calls.
        AccountRejected {
            /// Its answer.
            error: ApiError,
        } = "account_rejected",
        /// The API takes fresh signatures for expired: one of the two clocks is off.
        ClockSkew {
            /// Its answer.
            error: ApiError,
            /// This machine's time, in unix seconds.
            ours: i64,
            /// The API's time at that moment, in unix seconds, if its reply has it.
            theirs: Option<i64>,
        } = "clock_skew",
        /// Nothing can be sent.
        ApiUnreachable {
            /// What went wrong.
            why: Quote,
        } = "api_unreachable",
        /// The CA behind the API is busy, or its backend errs.
        CaBusy {
            /// The last answer.
            error: ApiError,
        } = "ca_busy",
        /// Commits are denied, whatever the certificate.
        CommitDenied {
            /// The last answer.
            error: ApiError,
        } = "commit_denied",
        /// The API refuses every request for its rate, however slow ours is.
        RateExhausted {
            /// The last answer.
            error: ApiError,
        } = "rate_exhausted",
        /// Commit after commit ended without an outcome.
        OutcomesUnknown {
            /// How the last one ended.
            why: Quote,
            /// The API's ID of it, if it gave one.
            request_id: Option<Quote>,
        } = "outcomes_unknown",
        /// The queue's own rules, or a trigger that was added, reject what certcommit writes.
        WritesRejected {
            /// Results of requests that are refused.
            results: u64,
            /// Submissions that are due and can't be claimed.
            submissions: u64,
            /// The rule's own sentence.
            rule: Quote,
        } = "writes_rejected",
        /// Readbacks are denied.
        ReadbackDenied {
            /// The last answer.
            error: ApiError,
        } = "readback_denied",
        /// Readback after readback failed.
        ReadbackFailing {
            /// How the last one failed.
            why: Quote,
            /// The API's ID of it, if it gave one.
            request_id: Option<Quote>,
        } = "readback_failing",
        /// Readback is paused, for a cause that would pause commits as well.
        ReadbackPaused {
            /// That cause.
            by: Box<PauseCause>,
        } = "readback_paused",
    }
}

/// What brings a restored queue back to work. Each step may be repeated.
const AFTER_A_RESTORE: &str = "enqueue all certificate IDs again from their source, as they were before (known ones are skipped); then \
     read back what is pending: certcommit verify --pending; then: certcommit resume";
const AFTER_VERIFICATION: &str = "if you haven't yet, enqueue all certificate IDs again from their source (known ones are skipped), and \
     repeat certcommit verify --pending; then: certcommit resume";
const IF_RESTORED: &str = "if it was not restored: certcommit resume. If it was, enqueue all certificate IDs again from their source, \
     as they were before (known ones are skipped); then read back what is pending: certcommit verify --pending; then: certcommit resume";
const KEYS_ARE_ASKED_FOR: &str = "find out why the credential source does not answer. certcommit asks it again at least once a minute, \
     and resumes as soon as there are keys; to ask at once: certcommit resume";
const PROBES_GO_ON: &str = "probes go on at growing intervals, and the first that succeeds resumes sending; to probe at once: \
     certcommit resume";

impl PauseCause {
    /// The same cause, for readbacks.
    #[must_use]
    pub fn of_readback(self) -> Self {
        if self.is_of_readback() { self } else { Self::ReadbackPaused { by: Box::new(self) } }
    }

    /// Whether only readbacks are paused.
    #[must_use]
    pub fn is_of_readback(&self) -> bool {
        matches!(self, Self::ReadbackDenied { .. } | Self::ReadbackFailing { .. } | Self::ReadbackPaused { .. })
    }

    /// The one right thing to do next.
    #[must_use]
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::ByOperator { .. } => "once the operator's reason is over: certcommit resume",
            Self::RestoredBehind { .. }
            | Self::RestoredEmptied { .. }
            | Self::RestoredUnmarked { .. }
            | Self::RestoredBackup { .. }
            | Self::RestoredDump => AFTER_A_RESTORE,
            Self::ControlLost => "find out whether an operator had paused the queue, and why; then: certcommit resume",
            Self::UncleanShutdown { .. } | Self::HeartbeatInFuture { .. } => IF_RESTORED,
            Self::NoCredentials { .. } | Self::CredentialsExpired { .. } => KEYS_ARE_ASKED_FOR,
            Self::CredentialsRejected { keys, .. } => return keys.replace(),
            Self::AccountRejected { .. } => {
                return format!(
                    "do for the account what the API's message asks for, in the Tencent Cloud console; {PROBES_GO_ON}"
                );
            }
            Self::ClockSkew { .. } => {
                "compare both times with a third clock first (chronyc tracking, timedatectl, or date -u on another machine). If this \
                 machine's is wrong, correct it, then: certcommit resume. If the API's is, leave this one alone, and report both times \
                 and the RequestId to Tencent Cloud: probes resume by themselves once it is right"
            }
            Self::ApiUnreachable { .. } => {
                return format!(
                    "look at the network, name resolution, proxy and api.endpoint: certcommit check --online; {PROBES_GO_ON}"
                );
            }
            Self::CaBusy { .. } => {
                return format!("nothing, unless it lasts: then report the RequestId to Tencent Cloud; {PROBES_GO_ON}");
            }
            Self::CommitDenied { error } => {
                return format!(
                    "grant these keys ssl:CommitCertificateInformation, or give the account what the API's message says that it \
                     lacks; then: certcommit resume, and for what failed before the pause: certcommit retry --error-code {}",
                    error.code
                );
            }
            Self::RateExhausted { .. } => {
                "find out who else calls this API for the account and uses its limit up, or lower rate.per_second; a probe goes \
                 out at least once a minute, and the first that succeeds resumes sending"
            }
            Self::OutcomesUnknown { .. } => {
                return format!(
                    "look at the network, the proxy (certcommit check --online) and Tencent Cloud's status page; what is in doubt is read \
                     back; {PROBES_GO_ON}"
                );
            }
            Self::WritesRejected { .. } => {
                "drop or correct the trigger that has this sentence: certcommit check names triggers that others added, with the \
                 command that drops each. The daemon may run meanwhile. What is refused is kept, and tried again every 10 s"
            }
            Self::ReadbackDenied { .. } => {
                "grant these keys ssl:DescribeCertificate; then: certcommit resume. Until then, submissions that have to be read \
                 wait"
            }
            Self::ReadbackFailing { request_id: Some(_), .. } => {
                "look at Tencent Cloud's status page, and if it lasts, report the RequestId to Tencent Cloud. Until a read succeeds, \
                 submissions that have to be read wait; to read at once: certcommit resume"
            }
            Self::ReadbackFailing { request_id: None, .. } => {
                "look at the network and the proxy: certcommit check --online. Until a read succeeds, submissions that have to be read \
                 wait; to read at once: certcommit resume"
            }
            Self::ReadbackPaused { by } => return by.remedy(),
        };
        remedy.to_owned()
    }

    /// Whether the database may have been restored.
    #[must_use]
    pub fn is_of_restore(&self) -> bool {
        matches!(
            self,
            Self::RestoredBehind { .. }
                | Self::RestoredEmptied { .. }
                | Self::RestoredUnmarked { .. }
                | Self::RestoredBackup { .. }
                | Self::RestoredDump
                | Self::UncleanShutdown { .. }
                | Self::HeartbeatInFuture { .. }
        )
    }

    /// The one right thing to do next, once everything that is pending has been read back, or is being read back.
    #[must_use]
    pub fn remedy_once_verified(&self) -> String {
        if self.is_of_restore() { AFTER_VERIFICATION.to_owned() } else { self.remedy() }
    }
}

impl KeySource {
    /// How to replace rejected keys.
    fn replace(&self) -> String {
        match self {
            Self::Environment => {
                "replace the keys in the environment that certcommit is started with (TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY and, \
                 for temporary keys, TENCENTCLOUD_TOKEN), then restart it"
                    .to_owned()
            }
            Self::Systemd => {
                "replace the credentials that systemd hands over, then: systemctl restart certcommit".to_owned()
            }
            Self::File { path } => {
                format!(
                    "replace the keys in {path}; certcommit notices it within seconds, and probes with the new ones"
                )
            }
            Self::Role { name } => format!(
                "in the Tencent Cloud console, look whether the role {name} exists and is bound to this machine; certcommit notices \
                 new keys within seconds, and probes with them"
            ),
            Self::Caller => "start certcommit with other keys".to_owned(),
        }
    }
}

impl fmt::Display for PauseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByOperator { reason: Some(reason) } => write!(f, "an operator paused the queue: {reason}"),
            Self::ByOperator { reason: None } => f.write_str("an operator paused the queue, and gave no reason"),
            Self::RestoredBehind { newest, made } => write!(
                f,
                "this database was restored from a backup, or made anew: it lacks the newest {} of {made} requests that were \
                 made, and perhaps submissions that were enqueued since",
                made - newest
            ),
            Self::RestoredEmptied { made } => {
                write!(
                    f,
                    "this database was deleted, emptied, or restored from an early copy: {made} requests were made, and none of them is on record"
                )
            }
            Self::RestoredUnmarked { newest } => write!(
                f,
                "the .mark file beside this database is missing, as it is where a backup was restored or moved to: {newest} requests \
                 are on record, and whether more were made is unknown"
            ),
            Self::RestoredBackup { written_at } => write!(
                f,
                "this database is a backup of {}: what is pending in it may have been sent since, and submissions that were \
                 enqueued since are missing",
                at(*written_at)
            ),
            Self::RestoredDump => {
                f.write_str("this database was read in from a dump: submissions and requests may be missing")
            }
            Self::ControlLost => {
                f.write_str("the table control was lost and is made anew: whether the queue was paused is unknown")
            }
            Self::UncleanShutdown { silent_s } => write!(
                f,
                "the last run did not end in good order, and wrote its last heartbeat {} ago: the database may have been restored, \
                 from a snapshot of the disk for instance, and would lack what was sent since",
                seconds(*silent_s)
            ),
            Self::HeartbeatInFuture { ahead_s } => write!(
                f,
                "the last run did not end in good order, and its last heartbeat lies {} in the future of this machine's clock: how \
                 long it was silent is unknown, and the database may have been restored, and would lack what was sent since",
                seconds(*ahead_s)
            ),
            Self::NoCredentials { why } => write!(f, "there are no credentials: {}", answer(why.as_ref())),
            Self::CredentialsExpired { why } => {
                write!(f, "the temporary keys expired, and there are no new ones: {}", answer(why.as_ref()))
            }
            Self::CredentialsRejected { error, .. } => write!(f, "the API rejects the credentials: {error}"),
            Self::AccountRejected { error } => write!(f, "the API rejects the account or this client: {error}"),
            Self::ClockSkew { error, ours, theirs } => {
                write!(f, "the API takes new signatures for expired: this machine's clock says {}", at(*ours))?;
                match theirs {
                    Some(theirs) => {
                        let distance = seconds(ours.abs_diff(*theirs));
                        let side = if ours < theirs { "more" } else { "less" };
                        write!(f, ", and the API's {}, {distance} {side}; one of them is wrong: {error}", at(*theirs))
                    }
                    None => write!(f, ", and the API's is not known: {error}"),
                }
            }
            Self::ApiUnreachable { why } => write!(f, "the API can't be reached: {why}"),
            Self::CaBusy { error } => write!(f, "several submissions in succession got {error}"),
            Self::CommitDenied { error } => write!(f, "several submissions in succession were denied: {error}"),
            Self::RateExhausted { error } => write!(
                f,
                "the API refuses every request for its rate, however slow they come; others may be using up the limit: {error}"
            ),
            Self::OutcomesUnknown { why, request_id } => write!(
                f,
                "the outcomes of several submissions in succession are unknown: {why}{}",
                WithId(request_id.as_ref())
            ),
            Self::WritesRejected { results, submissions, rule } => {
                f.write_str("a rule or a trigger of the database refuses ")?;
                match (results, submissions) {
                    (results, 0) => write!(f, "{results} results of requests")?,
                    (0, submissions) => write!(f, "{submissions} submissions that are due")?,
                    _ => write!(f, "{results} results of requests and {submissions} submissions that are due")?,
                }
                write!(f, ", and says: \"{rule}\"")
            }
            Self::ReadbackDenied { error } => {
                write!(f, "readback is paused: several reads in succession were denied: {error}")
            }
            Self::ReadbackFailing { why, request_id } => {
                write!(
                    f,
                    "readback is paused: several reads in succession failed: {why}{}",
                    WithId(request_id.as_ref())
                )
            }
            Self::ReadbackPaused { by } => write!(f, "readback is paused: {by}"),
        }
    }
}

fn answer(why: Option<&Quote>) -> &str {
    why.map_or("their source has not answered yet", Quote::as_str)
}

fn at(unix_seconds: i64) -> UnixMillis {
    UnixMillis(unix_seconds.saturating_mul(1000))
}

fn seconds(seconds: u64) -> String {
    rough(Duration::from_secs(seconds))
}
