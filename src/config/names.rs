//! Settings whose value is one of a few names, or has a unit of its own.

use std::time::Duration;

use crate::named_enum::named_enum;

named_enum! {
    /// `database.unsafe_filesystem`: what to do about a filesystem whose locks depend on its server: FUSE, virtiofs, 9P
    /// and folders that a host shares with its virtual machines.
    pub enum UnsafeFilesystem {
        /// Refuse it, like a network filesystem.
        Refuse = "refuse",
        /// Use it, with a warning.
        Allow = "allow",
    }
}

named_enum! {
    /// `api.action`: what commits a certificate.
    pub enum ActionName {
        /// Submits the information of a certificate; at most 20 a second.
        CommitCertificateInformation = "CommitCertificateInformation",
        /// Submits the order of a certificate; at most 10 a second.
        CertificateOrderSubmit = "CertificateOrderSubmit",
    }
}

named_enum! {
    /// `api.language`: the language of the server's messages.
    pub enum Language {
        /// English.
        English = "en-US",
        /// Chinese.
        Chinese = "zh-CN",
    }
}

named_enum! {
    /// `metrics.page`: to whom the page about the queue is served.
    pub enum PageAudience {
        /// To nobody.
        Off = "off",
        /// To those who reach the daemon at a loopback address.
        Loopback = "loopback",
        /// To everyone who reaches `metrics.listen`.
        Any = "any",
    }
}

named_enum! {
    /// `credentials.source`: where the credentials come from.
    pub enum SourceName {
        /// The first of the others that has any, in this order; the role only on the vendor's machines.
        Auto = "auto",
        /// The files that systemd passes to the service.
        Systemd = "systemd",
        /// The environment.
        Env = "env",
        /// A file.
        File = "file",
        /// The role of the machine.
        CvmRole = "cvm-role",
    }
}

/// Whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(pub u32);

impl Days {
    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_hours(24) * self.0
    }
}
