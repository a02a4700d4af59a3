//! Finds the route to the API, from the setting or, if the setting says so, from the environment.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hyper::Uri;

use super::environment;
use super::route::{Origin, Proxy, ProxyError, Route};
use crate::config::{ProxySetting, ProxyUrl};
use crate::tencent::credentials::{read_secret, systemd_credential_file};

/// The name of systemd's credential.
const CREDENTIAL: &str = "proxy";

/// Finds the route to an endpoint. This machine is never reached through a proxy.
///
/// # Errors
/// When the configured proxy can't be used. Then nothing is sent: requests never fall back to a direct connection.
pub fn find_route(
    setting: &ProxySetting,
    endpoint: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Route, ProxyError> {
    let endpoint: Uri = endpoint.parse().unwrap_or_default();
    let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    if is_loopback(host) {
        return Ok(Route::Direct(format!("{host} is this machine")));
    }
    let (url, origin) = match setting {
        ProxySetting::Off => return Ok(Route::Direct("api.proxy is \"off\"".to_owned())),
        ProxySetting::Environment => return environment::find(&endpoint, variable),
        ProxySetting::Url(url) => (url.clone(), Origin::Configuration),
        ProxySetting::File(path) => from_file(path.clone(), || ProxyError::Missing(path.clone()))?,
        ProxySetting::Systemd => {
            let path = systemd_credential_file(CREDENTIAL, variable).map_err(ProxyError::NoCredential)?;
            let missing = format!("there is no file {}", path.display());
            from_file(path, || ProxyError::NoCredential(missing))?
        }
    };
    Ok(Route::Through(Proxy { url, origin }))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The URL in a file.
fn from_file(path: PathBuf, missing: impl FnOnce() -> ProxyError) -> Result<(ProxyUrl, Origin), ProxyError> {
    let text = read_secret(Path::new(&path))?.ok_or_else(missing)?;
    let url = ProxyUrl::parse(text.trim());
    let url = url.ok_or_else(|| ProxyError::NoUrl { place: format!("the content of {}", path.display()) })?;
    Ok((url, Origin::File(path)))
}
