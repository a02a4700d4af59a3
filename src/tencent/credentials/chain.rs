//! The chain of providers, in the order of the settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::CredentialsError;
use super::role::{DMI, Role};
use super::source::{Found, Lookup};
use super::{environment, systemd, tccli_file, vendor_file};
use crate::config::{CredentialSettings, SourceName};

/// The environment variable with the loopback address of a simulated metadata service, for rehearsals.
const METADATA: &str = "CERTCOMMIT_METADATA";

/// Where credentials may be.
#[derive(Debug, Clone)]
pub(super) enum Provider {
    /// The directory that systemd made, or why there is none.
    Systemd(Result<PathBuf, String>),
    Environment,
    /// A file in the vendor's format, and the section to read.
    VendorFile(PathBuf, String),
    /// The file of a profile of tccli.
    TccliFile(PathBuf),
    Role(Role),
}

impl Provider {
    async fn lookup(&self, variable: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Lookup, CredentialsError> {
        match self {
            Self::Systemd(Ok(directory)) => systemd::lookup(directory),
            Self::Systemd(Err(why)) => Ok(Lookup::Nothing(why.clone())),
            Self::Environment => environment::lookup(variable),
            Self::VendorFile(path, profile) => vendor_file::lookup(path, profile),
            Self::TccliFile(path) => tccli_file::lookup(path),
            Self::Role(role) => role.lookup().await,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Systemd(_) => "systemd".to_owned(),
            Self::Environment => "the environment".to_owned(),
            Self::VendorFile(path, _) | Self::TccliFile(path) => format!("the file {}", path.display()),
            Self::Role(_) => "the machine's role".to_owned(),
        }
    }

    /// How to put credentials there.
    fn advice(&self) -> String {
        match self {
            Self::Systemd(_) => systemd::ADVICE.to_owned(),
            Self::Environment => environment::ADVICE.to_owned(),
            Self::VendorFile(path, profile) => {
                format!("write secret_id and secret_key under [{profile}] into {}", path.display())
            }
            Self::TccliFile(path) => format!("run tccli configure, which writes {}", path.display()),
            Self::Role(_) => "bind a role to this machine".to_owned(),
        }
    }
}

/// Finds the credentials: the first provider that has any decides.
///
/// # Errors
/// When no provider has any, when the first that does has unusable ones, or when one doesn't respond.
pub async fn find_credentials(
    settings: &CredentialSettings,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Found, CredentialsError> {
    find(&providers(settings, variable)?, variable).await
}

pub(super) async fn find(
    providers: &[Provider],
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Found, CredentialsError> {
    let mut skipped = Vec::new();
    for provider in providers {
        match provider.lookup(variable).await? {
            Lookup::Found(found) => return Ok(Found { skipped, ..found }),
            Lookup::Nothing(why) => skipped.push(format!("{}: {why}", provider.name())),
        }
    }
    let advice: Vec<String> = providers.iter().map(Provider::advice).collect();
    Err(CredentialsError::NotFound { looked_at: skipped, advice: advice.join("; or ") })
}

fn providers(
    settings: &CredentialSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Provider>, CredentialsError> {
    let systemd = || Provider::Systemd(systemd::directory(variable));
    let stand_in = variable(METADATA).map(|address| loopback(&address)).transpose()?;
    let role = |dmi: Option<&Path>| Provider::Role(Role::new(settings.role.clone(), stand_in, dmi));
    Ok(match settings.source {
        SourceName::Systemd => vec![systemd()],
        SourceName::Env => vec![Provider::Environment],
        SourceName::File => files(settings, variable),
        SourceName::CvmRole => vec![role(None)],
        SourceName::Auto => {
            let mut all = vec![systemd(), Provider::Environment];
            all.extend(files(settings, variable));
            all.push(role(stand_in.is_none().then_some(Path::new(DMI))));
            all
        }
    })
}

/// The configured file; without one, the vendor's files and then tccli's.
fn files(settings: &CredentialSettings, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Provider> {
    let vendor_file = |path| Provider::VendorFile(path, settings.profile.clone());
    if let Some(file) = &settings.file {
        return vec![vendor_file(file.clone())];
    }
    let home = variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let tccli = home.as_deref().map(|home| Provider::TccliFile(tccli_file::path(home, &settings.profile)));
    vendor_file::paths(home.as_deref()).into_iter().map(vendor_file).chain(tccli).collect()
}

/// A simulated metadata service must be on this machine: over a network, plain HTTP could bring anyone's credentials.
fn loopback(address: &str) -> Result<SocketAddr, CredentialsError> {
    let parsed = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    parsed.ok_or_else(|| CredentialsError::MetadataAddress { variable: METADATA, value: address.to_owned() })
}
