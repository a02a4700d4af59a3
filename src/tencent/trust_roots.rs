//! The certificate authorities that vouch for servers: the machine's, or those that the environment names in their place.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls_platform_verifier::Verifier;

use crate::escaping::printable;

/// The environment variable that names a file of authorities.
const FILE: &str = "SSL_CERT_FILE";
/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Longer paths are cut in messages.
const LONGEST_PATH: usize = 400;

const NONE: &str = "this machine has no certificate authorities: install the package ca-certificates, or name a file of them in SSL_CERT_FILE";

/// TLS with the platform's certificate authorities.
///
/// # Errors
/// Why there are no authorities.
pub(super) fn tls() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    // The verifier fails only if there is nobody to trust.
    let nobody = |_: rustls::Error| flaw().unwrap_or_else(|| NONE.to_owned());
    let verifier = Verifier::new(Arc::clone(&provider)).map_err(nobody)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut tls = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// What is wrong with the file that the environment names, if anything. By itself that is no error, since there may be
/// other authorities; but if a server isn't trusted, it is the reason.
pub(super) fn flaw() -> Option<String> {
    flaw_of(&std::env::var_os(FILE)?)
}

fn flaw_of(file: &OsStr) -> Option<String> {
    let shown = printable(&file.to_string_lossy(), LONGEST_PATH);
    match fs::read(Path::new(file)) {
        Err(error) => Some(format!("{FILE} names {shown}, which can't be read ({error}); correct or unset it")),
        Ok(bytes) if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) => {
            Some(format!("{FILE} names {shown}, which has no PEM certificate; correct or unset it"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_that_can_t_be_used_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let flaw = || flaw_of(path.as_os_str()).map(|flaw| flaw.replace(path.to_str().unwrap(), "FILE"));
        let unreadable = "SSL_CERT_FILE names FILE, which can't be read (No such file or directory (os error 2)); correct or unset it";
        assert_eq!(flaw().unwrap(), unreadable);
        fs::write(&path, "no certificate").unwrap();
        let empty = "SSL_CERT_FILE names FILE, which has no PEM certificate; correct or unset it";
        assert_eq!(flaw().unwrap(), empty);
        fs::write(&path, "# mine\n-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(flaw(), None);
    }
}
