//! Where the credentials come from: a chain of providers, one file each. The first provider that has credentials
//! decides: they are used, or are an error. Nothing is cached here; to refresh credentials, call again.

mod chain;
mod environment;
mod error;
mod keypair;
mod role;
mod secret_file;
mod source;
mod systemd;
mod tccli_file;
#[cfg(test)]
mod tests;
mod vendor_file;

pub use chain::find_credentials;
pub use error::CredentialsError;
pub use keypair::Credentials;
pub(super) use secret_file::read as read_secret;
pub use source::{Found, Source};
pub(super) use systemd::file as systemd_credential_file;
pub use vendor_file::parse_credentials;
