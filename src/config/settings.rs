//! Every setting: its type, its default, and how it is read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::names::{ActionName, Days, Language, PageAudience, SourceName, UnsafeFilesystem};
use super::proxy::ProxySetting;
use super::read::{
    LONGEST, SECOND, choice, days, duration, endpoint, listen, optional_duration, optional_path, optional_role, proxy,
    text, whole,
};
use super::show::Show as _;
use crate::logging::{LogFormat, LogLevel};
use crate::submission::{Policy, RetryPolicy, VerifyPolicy};

/// Defines a struct for each section and one for all, and lists the keys. A key has its default in TOML, and the function
/// that reads it; durations are in milliseconds.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $section_type:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:literal, $read:literal;)+
        }
    )+) => {
        /// All settings.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        pub struct Settings { $($(#[doc = $section_doc])+ pub $section: $section_type,)+ }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
            pub struct $section_type { $($(#[doc = $doc])+ #[serde(deserialize_with = $read)] pub $key: $type,)+ }
        )+

        /// Every key with its default in TOML. Tests compare the sample file and the documentation with it.
        pub const KEYS: &[(&str, &str)] =
            &[$($((concat!(stringify!($section), ".", stringify!($key)), $default),)+)+];

        impl Settings {
            /// The value of every key in the form of the configuration, in the order of [`KEYS`].
            pub(super) fn shown(&self) -> [String; KEYS.len()] {
                [$($(self.$section.$key.shown(),)+)+]
            }
        }
    };
}

settings! {
    /// `[database]`: the queue.
    database: DatabaseSettings {
        /// The SQLite database that holds the queue.
        path: PathBuf = r#""/var/lib/certcommit/queue.db""#, "text";
        /// What to do on a filesystem whose locks may not hold.
        unsafe_filesystem: UnsafeFilesystem = r#""refuse""#, "choice";
    }
    /// `[api]`: the API, and the proxy to it.
    api: ApiSettings {
        /// Scheme, host and perhaps port: `https://`, or `http://` with a literal loopback address.
        endpoint: String = r#""https://ssl.tencentcloudapi.com""#, "endpoint";
        /// The proxy to the API.
        proxy: ProxySetting = r#""environment""#, "proxy";
        /// What commits a certificate.
        action: ActionName = r#""CommitCertificateInformation""#, "choice";
        /// The longest time to set up a connection.
        connect_timeout: Duration = r#""5s""#, "duration::<1, LONGEST, _>";
        /// The longest time for a whole request.
        request_timeout: Duration = r#""30s""#, "duration::<1, LONGEST, _>";
        /// The language of the server's messages.
        language: Language = r#""en-US""#, "choice";
    }
    /// `[credentials]`: where the credentials come from.
    credentials: CredentialSettings {
        /// Where to look.
        source: SourceName = r#""auto""#, "choice";
        /// The file to look in; `None` for the vendor's places.
        file: Option<PathBuf> = r#""""#, "optional_path";
        /// The section of the file.
        profile: String = r#""default""#, "text";
        /// The role to ask the machine's metadata service for; `None` for the one that the machine has.
        role: Option<String> = r#""""#, "optional_role";
    }
    /// `[rate]`: the limit for commits.
    rate: RateSettings {
        /// The most commits in any window of one second plus `guard`, retries included. Tencent Cloud permits 20 a second for
        /// `CommitCertificateInformation`, and 10 for `CertificateOrderSubmit`, which is the default then.
        per_second: u32 = "20", "whole::<1, 20, _, _>";
        /// How much the network delay to the server may vary without the server seeing more than `per_second`.
        guard: Duration = r#""25ms""#, "duration::<0, SECOND, _>";
    }
    /// `[retry]`: how often and how soon a commit is tried again.
    retry: RetrySettings {
        /// The most commits that count for one certificate, the first included.
        max_tries: u32 = "8", "whole::<1, 100, _, _>";
        /// The longest wait after the first failure; not longer than `max_backoff`.
        initial_backoff: Duration = r#""1s""#, "duration::<1, LONGEST, _>";
        /// The longest wait after any failure.
        max_backoff: Duration = r#""5m""#, "duration::<1, LONGEST, _>";
    }
    /// `[verify]`: the readback of commits in doubt.
    verify: VerifySettings {
        /// The wait from a commit in doubt to its first readback; not longer than `resend_after`.
        settle: Duration = r#""60s""#, "duration::<1, LONGEST, _>";
        /// The wait from signing a commit to the readback that may allow another one.
        resend_after: Duration = r#""10m""#, "duration::<1, LONGEST, _>";
        /// The most readbacks in a second.
        per_second: u32 = "10", "whole::<1, 10, _, _>";
    }
    /// `[follow]`: whether certcommit looks at what the CA makes of the orders.
    follow: FollowSettings {
        /// The wait from the order to the next look at its status, which grows while nothing changes; `None`: nobody looks.
        interval: Option<Duration> = r#""off""#, "optional_duration::<SECOND, LONGEST, _>";
    }
    /// `[pause]`: when the queue pauses by itself.
    pause: PauseSettings {
        /// The queue pauses when the requests of this many different rows in succession end in the same way.
        after: u32 = "5", "whole::<1, 1_000_000, _, _>";
        /// The wait before the first probe; not longer than `probe_max`.
        probe_initial: Duration = r#""30s""#, "duration::<1, LONGEST, _>";
        /// The longest wait between probes.
        probe_max: Duration = r#""15m""#, "duration::<1, LONGEST, _>";
    }
    /// `[worker]`: the daemon's own bounds.
    worker: WorkerSettings {
        /// The most requests in flight at once.
        max_in_flight: usize = "64", "whole::<1, 1000, _, _>";
        /// How long requests in flight get to finish when the daemon stops.
        stop_timeout: Duration = r#""35s""#, "duration::<1, LONGEST, _>";
    }
    /// `[log]`: what is logged and how.
    log: LogSettings {
        /// The least urgent level that is logged.
        level: LogLevel = r#""info""#, "choice";
        /// Where the log goes, and its format.
        format: LogFormat = r#""auto""#, "choice";
        /// The time between two `progress` lines.
        progress_interval: Duration = r#""60s""#, "duration::<SECOND, LONGEST, _>";
    }
    /// `[metrics]`: where metrics and the page about the queue are served.
    metrics: MetricsSettings {
        /// Where metrics are served over HTTP, if at all. Anyone who can reach the address can read them.
        listen: Option<SocketAddr> = r#""""#, "listen";
        /// To whom the page about the queue is served at the same address. It shows IDs of certificates, and references.
        page: PageAudience = r#""loopback""#, "choice";
    }
    /// `[retention]`: how long records are kept.
    retention: RetentionSettings {
        /// The age from which requests are pruned, unless a decision depends on them; `None` keeps them forever.
        requests: Option<Days> = r#""off""#, "days::<1, 3650, _>";
    }
}

impl Settings {
    /// What the state machine depends on.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let &RetrySettings { max_tries, initial_backoff, max_backoff } = &self.retry;
        let &VerifySettings { settle, resend_after, .. } = &self.verify;
        Policy {
            retry: RetryPolicy { max_tries, initial_backoff, max_backoff },
            verify: VerifyPolicy { settle, resend_after },
        }
    }
}
