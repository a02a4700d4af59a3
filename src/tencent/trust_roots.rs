//! The certificate authorities to trust: the machine's, or those in the file that the environment names instead.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls_platform_verifier::Verifier;

use crate::escaping::printable;

/// The environment variable that names a file with authorities.
const FILE: &str = "SSL_CERT_FILE";
/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Longer paths are truncated in messages.
const LONGEST_PATH: usize = 400;

const NONE: &str = "this machine has no certificate authorities: install the package ca-certificates, or set SSL_CERT_FILE to a file that has some";

/// TLS with the platform's certificate authorities.
///
/// # Errors
/// The reason why there are no authorities.
pub(super) fn tls() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    // The verifier fails only if there is no authority to trust.
    let no_authorities = |_: rustls::Error| file_problem().unwrap_or_else(|| NONE.to_owned());
    let verifier = Verifier::new(Arc::clone(&provider)).map_err(no_authorities)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut tls = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// What is wrong with the file that the environment names, if anything. That alone isn't an error, since there may be
/// other authorities; but it explains why a server isn't trusted.
pub(super) fn file_problem() -> Option<String> {
    problem_of(&std::env::var_os(FILE)?)
}

fn problem_of(file: &OsStr) -> Option<String> {
    let name = printable(&file.to_string_lossy(), LONGEST_PATH);
    match fs::read(Path::new(file)) {
        Err(error) => Some(format!("{FILE} names {name}, which can't be read ({error}); correct or unset it")),
        Ok(bytes) if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) => {
            Some(format!("{FILE} names {name}, which has no PEM certificate; correct or unset it"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_ssl_cert_file_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let problem = || problem_of(path.as_os_str()).map(|problem| problem.replace(path.to_str().unwrap(), "FILE"));
        let unreadable = "SSL_CERT_FILE names FILE, which can't be read (No such file or directory (os error 2)); correct or unset it";
        assert_eq!(problem().unwrap(), unreadable);
        fs::write(&path, "no certificate").unwrap();
        let empty = "SSL_CERT_FILE names FILE, which has no PEM certificate; correct or unset it";
        assert_eq!(problem().unwrap(), empty);
        fs::write(&path, "# mine\n-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(problem(), None);
    }
}
