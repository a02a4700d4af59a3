//! Where the settings say that the credentials are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::exit::{Code, Failure};
use crate::config::{CredentialSettings, Settings, SourceName};
use crate::daemon::CredentialSource;
use crate::tencent::{CredentialsError, DMI, Found, Place, Role, find_credentials, vendor_files};

/// Where systemd puts the files of `LoadCredential=`.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The loopback address of a stand-in for the metadata service, for rehearsals.
const METADATA: &str = "CERTCOMMIT_METADATA";

/// What the daemon asks for its credentials.
pub(super) fn source(settings: &Settings) -> Result<CredentialSource, Failure> {
    let places = places(&settings.credentials)?;
    Ok(CredentialSource::new(move || {
        let places = places.clone();
        async move { find(&places).await }
    }))
}

/// Looks for the credentials once.
pub(super) async fn look(settings: &Settings) -> Result<Found, Failure> {
    Ok(find(&places(&settings.credentials)?).await?)
}

async fn find(places: &[Place]) -> Result<Found, CredentialsError> {
    find_credentials(places, &variable).await
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn places(settings: &CredentialSettings) -> Result<Vec<Place>, Failure> {
    let stand_in = variable(METADATA).map(|address| loopback(&address)).transpose()?;
    let directory = std::env::var_os(DIRECTORY).filter(|path| !path.is_empty()).map(PathBuf::from);
    let files = settings.file.clone().map_or_else(|| vendor_files(variable("HOME").as_deref()), |file| vec![file]);
    let files = files.into_iter().map(|path| Place::File(path, settings.profile.clone()));
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

fn at(role: Role, stand_in: Option<SocketAddr>) -> Role {
    match stand_in {
        Some(address) => role.at(address),
        None => role,
    }
}

/// Keys that come unprotected over a network could be anybody's.
fn loopback(address: &str) -> Result<SocketAddr, Failure> {
    let parsed = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    let wanted =
        format!("{METADATA} is {address:?}: it must be a loopback address with a port, such as 127.0.0.1:8018");
    parsed.ok_or_else(|| Failure::new(Code::Config, wanted))
}
