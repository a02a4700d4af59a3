//! The settings: built-in defaults, under a TOML file, under the environment, as typed and checked values.
//!
//! It refuses what it doesn't know and what can't be meant, and says which key, where it stood, and what
//! would be right. It holds no keys: those come from where `credentials.source` points. The one secret that may stand in it
//! is the password of `api.proxy`.

mod diff;
mod endpoint;
mod error;
mod keys;
mod proxy;
mod sources;
mod values;

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::logging::{LogFormat, LogLevel};
use crate::submission::{Policy, RetryPolicy, VerifyPolicy};

pub use diff::Change;
pub use error::ConfigError;
pub use keys::KEYS;
pub use proxy::{ProxySetting, ProxyUrl};

use values::{Span, Values};

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/certcommit/certcommit.toml";

/// What the name of every environment variable for a setting starts with: `CERTCOMMIT__SECTION__KEY`.
pub const VARIABLE_PREFIX: &str = "CERTCOMMIT__";

/// The most commits in a second that Tencent Cloud permits for `CommitCertificateInformation`.
const MOST_PER_SECOND: u32 = 20;

/// `rate.per_second` for `CertificateOrderSubmit`, unless it is set: the server's limit for that action.
const ORDER_SUBMIT_PER_SECOND: u32 = 10;

/// The most reads in a second.
const MOST_READS_PER_SECOND: u32 = 10;

/// The longest name of a role.
const LONGEST_ROLE: usize = 128;

/// The longest that anything is kept, unless it is kept for ever.
const MOST_DAYS: u32 = 3650;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The queue.
    pub database: DatabaseSettings,
    /// The API and how to speak to it.
    pub api: ApiSettings,
    /// Where the credentials come from.
    pub credentials: CredentialSettings,
    /// The limit for commits.
    pub rate: RateSettings,
    /// Bounds and pace of the retries.
    pub retry: RetryPolicy,
    /// Reading back what is in doubt.
    pub verify: VerifySettings,
    /// When the queue pauses by itself.
    pub pause: PauseSettings,
    /// The daemon's own bounds.
    pub worker: WorkerSettings,
    /// What is logged and how.
    pub log: LogSettings,
    /// What other programs watch the daemon by.
    pub metrics: MetricsSettings,
    /// How long what is done is kept.
    pub retention: RetentionSettings,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// The SQLite database that holds the queue.
    pub path: PathBuf,
    /// What to do where locks may not hold.
    pub unsafe_filesystem: UnsafeFilesystem,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Scheme, host and perhaps port: `https://`, or `http://` with a literal loopback address.
    pub endpoint: String,
    /// The way there.
    pub proxy: ProxySetting,
    /// What commits a certificate.
    pub action: ActionName,
    /// How long setting up a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take in all.
    pub request_timeout: Duration,
    /// The language of the server's messages: `en-US` or `zh-CN`.
    pub language: String,
}

/// `[credentials]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Where to look.
    pub source: SourceName,
    /// The file to look in; none for the vendor's places.
    pub file: Option<PathBuf>,
    /// The section of the file.
    pub profile: String,
    /// The role to ask the machine's metadata service for; none for the one that the machine has.
    pub role: Option<String>,
}

/// `[rate]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSettings {
    /// The most commits in any window of one second plus `guard`, retries included.
    pub per_second: u32,
    /// How much the delay on the way to the server may vary without the server seeing more.
    pub guard: Duration,
}

/// `[verify]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifySettings {
    /// From losing sight of a commit to the first read.
    pub settle: Duration,
    /// From signing a commit to the read that may allow another one; not shorter than `settle`.
    pub resend_after: Duration,
    /// The most reads in a second.
    pub per_second: u32,
}

/// `[pause]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseSettings {
    /// So many different rows in succession that end in the same way pause the queue.
    pub after: u32,
    /// The wait before the first probe.
    pub probe_initial: Duration,
    /// The longest wait between probes; not shorter than `probe_initial`.
    pub probe_max: Duration,
}

/// `[worker]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The most requests on the way at once.
    pub max_in_flight: usize,
    /// How long requests on the way may take to end when the daemon stops.
    pub stop_timeout: Duration,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The least urgent level that is logged.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
    /// The time between two `progress` lines.
    pub progress_interval: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where metrics are served over HTTP, if at all. Whoever reaches the address can read them.
    pub listen: Option<SocketAddr>,
}

/// `[retention]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The age from which requests go that no decision hangs on; none: they are kept for ever.
    pub requests: Option<Duration>,
}

/// An enum of the names that a setting can have.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

names! {
    /// `database.unsafe_filesystem`: what to do about a filesystem on which locks hold or don't, by whoever serves it:
    /// FUSE, virtiofs, 9P and what a host shares with its virtual machines.
    UnsafeFilesystem {
        /// Refuse it, like a network filesystem.
        Refuse = "refuse",
        /// Take it, with a warning.
        Allow = "allow",
    }
}

names! {
    /// `api.action`: what commits a certificate.
    ActionName {
        /// Submits the information of a certificate; at most 20 a second.
        CommitCertificateInformation = "CommitCertificateInformation",
        /// Submits the order of a certificate; at most 10 a second.
        CertificateOrderSubmit = "CertificateOrderSubmit",
    }
}

names! {
    /// `credentials.source`: where the credentials come from.
    SourceName {
        /// The first of the others that has any, in their order; the role on the vendor's machines only.
        Auto = "auto",
        /// The files that systemd hands to the service.
        Systemd = "systemd",
        /// The environment.
        Env = "env",
        /// A file.
        File = "file",
        /// The role of the machine.
        CvmRole = "cvm-role",
    }
}

impl Settings {
    /// Reads the settings: the defaults, under the file, under those variables of the environment that
    /// start with [`VARIABLE_PREFIX`]. Without a file it is [`DEFAULT_FILE`], if that exists.
    ///
    /// # Errors
    /// When a named file is missing, a file can't be read or isn't TOML, a key doesn't exist, or a value
    /// is none that its key can have. The first such mistake is the one reported.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::load_or(file, Path::new(DEFAULT_FILE), environment)
    }

    /// What the state machine depends on.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let verify = VerifyPolicy { settle: self.verify.settle, resend_after: self.verify.resend_after };
        Policy { retry: self.retry, verify }
    }

    fn load_or(
        file: Option<&Path>,
        fallback: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(fallback);
        let (text, public) = match read(path) {
            Ok(read) => read,
            Err(reason) if file.is_none() && reason.kind() == io::ErrorKind::NotFound => (String::new(), false),
            Err(reason) => return Err(ConfigError::Unreadable { path: path.to_owned(), reason }),
        };
        let settings = Self::from_text(path, &text, environment)?;
        // What the environment says instead doesn't hide what stands there.
        if public && Self::from_text(path, &text, []).is_ok_and(|own| own.api.proxy.is_secret()) {
            return Err(ConfigError::Exposed(path.to_owned()));
        }
        Ok(settings)
    }

    /// The settings by a file's text and the variables of an environment, over the defaults. Pure; the path only
    /// says, in an error, which file it is.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for files that are missing or can't be read.
    pub fn from_text(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let layers = [sources::defaults()?, sources::file(path, text)?, sources::environment(environment)?];
        Self::from_values(&Values(sources::merge(layers)?))
    }

    fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let action = values.choice("api.action", ActionName::ALL, ActionName::as_str)?;
        let settings = Self {
            database: DatabaseSettings {
                path: values.some_text("database.path", "the path of a file")?.into(),
                unsafe_filesystem: values.choice(
                    "database.unsafe_filesystem",
                    UnsafeFilesystem::ALL,
                    UnsafeFilesystem::as_str,
                )?,
            },
            api: ApiSettings {
                endpoint: endpoint(values)?,
                proxy: proxy(values)?,
                action,
                connect_timeout: values.duration("api.connect_timeout", Span::Positive)?,
                request_timeout: values.duration("api.request_timeout", Span::Positive)?,
                language: values.choice("api.language", &["en-US", "zh-CN"], |name| name)?.to_owned(),
            },
            credentials: CredentialSettings {
                source: values.choice("credentials.source", SourceName::ALL, SourceName::as_str)?,
                file: Some(values.text("credentials.file")?).filter(|path| !path.is_empty()).map(PathBuf::from),
                profile: values.some_text("credentials.profile", "the name of a section of the file")?,
                role: role(values)?,
            },
            rate: RateSettings {
                per_second: per_second(values, action)?,
                guard: values.duration("rate.guard", Span::UpTo(Duration::from_secs(1)))?,
            },
            retry: RetryPolicy {
                max_tries: values.number("retry.max_tries", 1..=100)?,
                initial_backoff: values.duration("retry.initial_backoff", Span::Positive)?,
                max_backoff: values.duration("retry.max_backoff", Span::Positive)?,
            },
            verify: VerifySettings {
                settle: values.duration("verify.settle", Span::Positive)?,
                resend_after: values.duration("verify.resend_after", Span::Positive)?,
                per_second: values.number("verify.per_second", 1..=MOST_READS_PER_SECOND)?,
            },
            pause: PauseSettings {
                after: values.number("pause.after", 1..=1_000_000)?,
                probe_initial: values.duration("pause.probe_initial", Span::Positive)?,
                probe_max: values.duration("pause.probe_max", Span::Positive)?,
            },
            worker: WorkerSettings {
                max_in_flight: max_in_flight(values)?,
                stop_timeout: values.duration("worker.stop_timeout", Span::Positive)?,
            },
            log: LogSettings {
                level: values.choice("log.level", &LogLevel::ALL, LogLevel::as_str)?,
                format: values.choice("log.format", &LogFormat::ALL, LogFormat::as_str)?,
                progress_interval: values.duration("log.progress_interval", Span::AtLeast(Duration::from_secs(1)))?,
            },
            metrics: MetricsSettings { listen: listen(values)? },
            retention: RetentionSettings { requests: values.days_or_off("retention.requests", 1..=MOST_DAYS)? },
        };
        let Self { retry, verify, pause, .. } = &settings;
        values.ordered(("retry.initial_backoff", retry.initial_backoff), ("retry.max_backoff", retry.max_backoff))?;
        values.ordered(("verify.settle", verify.settle), ("verify.resend_after", verify.resend_after))?;
        values.ordered(("pause.probe_initial", pause.probe_initial), ("pause.probe_max", pause.probe_max))?;
        Ok(settings)
    }
}

/// A file's text, and whether every user of the machine can read it.
fn read(path: &Path) -> io::Result<(String, bool)> {
    const OTHERS_READ: u32 = 0o004;
    let mut file = File::open(path)?;
    let public = file.metadata()?.permissions().mode() & OTHERS_READ != 0;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((text, public))
}

fn endpoint(values: &Values) -> Result<String, ConfigError> {
    let text = values.text("api.endpoint")?;
    match endpoint::check(&text) {
        Ok(()) => Ok(text),
        Err(wanted) => Err(values.invalid("api.endpoint", wanted)),
    }
}

fn proxy(values: &Values) -> Result<ProxySetting, ConfigError> {
    let text = values.text("api.proxy")?;
    ProxySetting::parse(&text).ok_or_else(|| values.invalid("api.proxy", proxy::WANTED))
}

fn role(values: &Values) -> Result<Option<String>, ConfigError> {
    let name = Some(values.text("credentials.role")?).filter(|name| !name.is_empty());
    match name.as_deref().is_none_or(is_role_name) {
        true => Ok(name),
        false => Err(values.invalid("credentials.role", "the name of a role, of letters, digits and _ - . + = , @")),
    }
}

/// Whether a role can have this name. It becomes part of a URL's path.
#[must_use]
pub fn is_role_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+=,@".contains(&byte);
    (1..=LONGEST_ROLE).contains(&text.len()) && text.bytes().all(fits) && !text.bytes().all(|byte| byte == b'.')
}

fn per_second(values: &Values, action: ActionName) -> Result<u32, ConfigError> {
    match action {
        ActionName::CertificateOrderSubmit if !values.is_set("rate.per_second") => Ok(ORDER_SUBMIT_PER_SECOND),
        ActionName::CertificateOrderSubmit | ActionName::CommitCertificateInformation => {
            values.number("rate.per_second", 1..=MOST_PER_SECOND)
        }
    }
}

fn max_in_flight(values: &Values) -> Result<usize, ConfigError> {
    let number = values.number("worker.max_in_flight", 1..=1000)?;
    usize::try_from(number).map_err(|error| ConfigError::Internal(error.to_string()))
}

/// An address and port, or nothing. A port alone is on loopback: metrics are nobody else's business unless said.
fn listen(values: &Values) -> Result<Option<SocketAddr>, ConfigError> {
    let text = values.text("metrics.listen")?;
    if text.is_empty() {
        return Ok(None);
    }
    let on_loopback = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let wanted = "an address and port such as \"127.0.0.1:9437\", a port alone for loopback, or \"\" for none";
    on_loopback.or_else(|_| text.parse()).map(Some).map_err(|_| values.invalid("metrics.listen", wanted))
}

#[cfg(test)]
mod tests;
