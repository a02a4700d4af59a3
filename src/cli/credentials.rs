//! Where the settings say that the credentials are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{CredentialSettings, Settings, SourceName};
use crate::daemon::CredentialSource;
use crate::tencent::{CredentialsError, DMI, Found, Place, Role, find_credentials, tccli_file, vendor_files};

/// Where systemd puts the files of `LoadCredential=`.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The loopback address of a stand-in for the metadata service, for rehearsals.
const METADATA: &str = "CERTCOMMIT_METADATA";

/// What the daemon asks for its credentials.
pub(super) fn source(settings: &Settings) -> CredentialSource {
    let settings = settings.credentials.clone();
    CredentialSource::new(move || {
        let settings = settings.clone();
        async move { find(&settings).await }
    })
}

/// Looks for the credentials once.
pub(super) async fn find(settings: &CredentialSettings) -> Result<Found, CredentialsError> {
    find_credentials(&places(settings)?, &variable).await
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn home() -> Option<String> {
    variable("HOME").filter(|home| !home.is_empty())
}

fn places(settings: &CredentialSettings) -> Result<Vec<Place>, CredentialsError> {
    let stand_in = variable(METADATA).map(|address| loopback(&address)).transpose()?;
    let directory = std::env::var_os(DIRECTORY).filter(|path| !path.is_empty()).map(PathBuf::from);
    let files = files(settings).into_iter();
    let role = Role::new(settings.role.clone());
    Ok(match settings.source {
        SourceName::Systemd => vec![Place::Systemd(directory)],
        SourceName::Env => vec![Place::Environment],
        SourceName::File => files.collect(),
        SourceName::CvmRole => vec![Place::Role(at(role, stand_in))],
        SourceName::Auto => {
            let role = match stand_in {
                Some(_) => at(role, stand_in),
                None => role.only_on_vendors_machines(Path::new(DMI)),
            };
            [Place::Systemd(directory), Place::Environment]
                .into_iter()
                .chain(files)
                .chain([Place::Role(role)])
                .collect()
        }
    })
}

/// The file that is named, or the vendor's places: its format's own, and then what its command-line tool writes.
fn files(settings: &CredentialSettings) -> Vec<Place> {
    let of_format = |path| Place::File(path, settings.profile.clone());
    if let Some(file) = &settings.file {
        return vec![of_format(file.clone())];
    }
    let home = home();
    let of_tool = home.as_deref().map(|home| Place::Tccli(tccli_file(home, &settings.profile)));
    vendor_files(home.as_deref()).into_iter().map(of_format).chain(of_tool).collect()
}

fn at(role: Role, stand_in: Option<SocketAddr>) -> Role {
    match stand_in {
        Some(address) => role.at(address),
        None => role,
    }
}

/// Keys that come unprotected over a network could be anybody's.
fn loopback(address: &str) -> Result<SocketAddr, CredentialsError> {
    let parsed = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    parsed.ok_or_else(|| CredentialsError::StandIn { variable: METADATA, value: address.to_owned() })
}
