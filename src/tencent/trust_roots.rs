//! The certificate authorities that the environment names in place of the machine's. A name that leads nowhere is no error by
//! itself, where there are others; but where a server isn't trusted, it is why.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::escaping::printable;

/// The variable that names a file.
const FILE: &str = "SSL_CERT_FILE";
/// How a certificate begins in a file of the PEM form.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// As much of a path is shown.
const SHOWN: usize = 400;

/// What to do where the machine has none.
const NONE: &str = "this machine has no certificate authorities: install the package ca-certificates, or name a file of them in \
    SSL_CERT_FILE";

/// What is wrong with the file that the environment names, if anything is.
pub(super) fn flaw() -> Option<String> {
    flaw_of(&std::env::var_os(FILE)?)
}

/// Why there are none at all.
pub(super) fn why_none() -> String {
    flaw().unwrap_or_else(|| NONE.to_owned())
}

fn flaw_of(file: &OsStr) -> Option<String> {
    let shown = printable(&file.to_string_lossy(), SHOWN);
    match fs::read(Path::new(file)) {
        Err(error) => Some(format!("{FILE} names {shown}, which can't be read ({error}); correct it, or unset it")),
        Ok(bytes) if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) => {
            Some(format!("{FILE} names {shown}, which holds no certificate in the PEM form; correct it, or unset it"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_that_can_not_be_used_is_named_with_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let flaw = || flaw_of(path.as_os_str()).map(|flaw| flaw.replace(path.to_str().unwrap(), "FILE"));
        let unreadable = "SSL_CERT_FILE names FILE, which can't be read (No such file or directory (os error 2)); correct it, or unset it";
        assert_eq!(flaw().unwrap(), unreadable);
        fs::write(&path, "no certificate").unwrap();
        let empty = "SSL_CERT_FILE names FILE, which holds no certificate in the PEM form; correct it, or unset it";
        assert_eq!(flaw().unwrap(), empty);
        fs::write(&path, "# mine\n-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(flaw(), None);
    }
}
