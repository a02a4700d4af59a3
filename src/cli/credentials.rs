//! The credentials that the settings point to.

use crate::config::{CredentialSettings, Settings};
use crate::daemon::CredentialSource;
use crate::tencent::{CredentialsError, Found, find_credentials};

/// Where the daemon gets its credentials.
pub(super) fn source(settings: &Settings) -> CredentialSource {
    let settings = settings.credentials.clone();
    CredentialSource::new(move || {
        let settings = settings.clone();
        async move { find(&settings).await }
    })
}

/// Looks for the credentials once.
pub(super) async fn find(settings: &CredentialSettings) -> Result<Found, CredentialsError> {
    // A value that isn't valid UTF-8 must be refused, not ignored as if it were unset.
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    find_credentials(settings, &variable).await
}
