//! Describes failures of the network and of TLS for operators.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use tokio::time::error::Elapsed;

use super::trust_roots;
use crate::clock::UnixMillis;

const UNKNOWN_AUTHORITY: &str = "no certificate authority that this machine trusts has signed it";

/// The cause of the error, with the host if no connection came about: the texts of the two innermost errors, since the outer
/// ones only say that a request failed. TLS errors get a text of our own, since rustls writes its texts for programmers.
pub(super) fn describe(error: reqwest::Error) -> String {
    let host = error.url().and_then(|url| url.host_str()).filter(|_| error.is_connect());
    let host = host.map(|host| format!("{host}: ")).unwrap_or_default();
    let error = error.without_url();
    if let Some(error) = causes(&error).find_map(tls_error) {
        return describe_tls(error);
    }
    let text = innermost(&error);
    if causes(&error).any(has_elapsed) { format!("{host}{text}: timed out") } else { format!("{host}{text}") }
}

/// Whether a tokio timer ended it: the text of that error doesn't mention a timeout.
fn has_elapsed(cause: &(dyn Error + 'static)) -> bool {
    match cause.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().is_some_and(|inner| inner.is::<Elapsed>()),
        None => cause.is::<Elapsed>(),
    }
}

/// The texts of the two innermost errors.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.split_off(texts.len().saturating_sub(2)).join(": ")
}

/// The error and its sources, from the outside in.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// The TLS error in a cause: an I/O error may contain one that isn't its source.
pub(super) fn tls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<io::Error>() {
        Some(error) => tls_error(error.get_ref()?),
        None => cause.downcast_ref(),
    }
}

pub(super) fn describe_tls(error: &rustls::Error) -> String {
    if let rustls::Error::InvalidCertificate(problem) = error {
        return format!("the server's certificate is not trusted: {}", describe_certificate(problem));
    }
    format!("TLS failed: {error}")
}

fn describe_certificate(problem: &CertificateError) -> String {
    let at = |time: &UnixTime| UnixMillis::from_duration(Duration::from_secs(time.as_secs()));
    if let CertificateError::UnknownIssuer = problem {
        return format!(
            "unknown issuer; {}",
            trust_roots::file_problem().unwrap_or_else(|| UNKNOWN_AUTHORITY.to_owned())
        );
    }
    if let CertificateError::ExpiredContext { time, not_after } = problem {
        return format!("it expired at {}; this machine's clock says {}", at(not_after), at(time));
    }
    if let CertificateError::NotValidYetContext { time, not_before } = problem {
        return format!("it is not valid before {}; this machine's clock says {}", at(not_before), at(time));
    }
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distrust(problem: CertificateError) -> String {
        describe_tls(&rustls::Error::InvalidCertificate(problem))
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_described_for_operators() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        assert_eq!(
            distrust(CertificateError::UnknownIssuer),
            "the server's certificate is not trusted: unknown issuer; no certificate authority that this \
             machine trusts has signed it"
        );
        assert_eq!(
            distrust(CertificateError::ExpiredContext { time: at(86_400), not_after: at(0) }),
            "the server's certificate is not trusted: it expired at 1970-01-01T00:00:00Z; this machine's clock says \
             1970-01-02T00:00:00Z"
        );
        assert_eq!(
            distrust(CertificateError::NotValidYetContext { time: at(0), not_before: at(86_400) }),
            "the server's certificate is not trusted: it is not valid before 1970-01-02T00:00:00Z; this machine's clock \
             says 1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_tls_error_is_found_inside_an_io_error_too() {
        let error = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        assert_eq!(tls_error(&error), Some(&rustls::Error::DecryptError));
        assert_eq!(tls_error(&io::Error::other("something else")), None);
        assert_eq!(describe_tls(&rustls::Error::DecryptError), "TLS failed: cannot decrypt peer's message");
    }
}
