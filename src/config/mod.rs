//! The settings, as typed and checked values: the environment overrides a TOML file, which overrides built-in defaults.
//!
//! An unknown key or an invalid value is an error that names the key, its place, and what is expected. Credentials
//! aren't settings: `credentials.source` says where they come from. The only possible secret here is the password in
//! `api.proxy`.

mod diff;
mod endpoint;
mod error;
mod keys;
mod load;
mod names;
mod proxy;
mod read;
mod settings;
mod show;
mod sources;
mod url;

pub use diff::ChangedSetting;
pub use error::ConfigError;
pub use keys::VARIABLE_PREFIX;
pub use load::DEFAULT_FILE;
pub use names::{ActionName, Days, Language, PageAudience, SourceName, UnsafeFilesystem};
pub use proxy::{ProxySetting, ProxyUrl};
pub use read::{address_to_listen, is_role_name};
pub use settings::{
    ApiSettings, CredentialSettings, DatabaseSettings, FollowSettings, KEYS, LogSettings, MetricsSettings,
    PauseSettings, RateSettings, RetentionSettings, RetrySettings, Settings, VerifySettings, WorkerSettings,
};
