//! A certificate authority for a test, and servers with its certificates.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion, crypto};

pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Writes the authority's certificate to a file, for `SSL_CERT_FILE`.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, &self.certificate).unwrap();
    }

    /// A server with a valid certificate for this host.
    pub(crate) fn server(&self, host: &str) -> Arc<ServerConfig> {
        self.server_config(ALL_VERSIONS, &params_for(host))
    }

    /// A server with a valid certificate for this host that speaks only this version of TLS.
    pub(crate) fn server_with(&self, version: &'static SupportedProtocolVersion, host: &str) -> Arc<ServerConfig> {
        self.server_config(&[version], &params_for(host))
    }

    /// A server whose certificate for this host has expired.
    pub(crate) fn expired_server(&self, host: &str) -> Arc<ServerConfig> {
        let mut params = params_for(host);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.server_config(ALL_VERSIONS, &params)
    }

    fn server_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        params: &CertificateParams,
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.clone().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

fn params_for(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}
