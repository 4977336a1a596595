//! The certificate by which the server is known: read once, at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

use crate::config::AccessConfig;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    #[error(
        "a certificate needs its key, and a key its certificate: give both --tls-cert and --tls-key, or neither"
    )]
    Half,
    #[error("{path} cannot be read as PEM; it is to hold {what}")]
    Pem {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    #[error("the certificate and the key do not go together, or are of a kind that is not known")]
    Unfit(#[source] rustls::Error),
}

/// What speaks TLS, if `config` names a certificate.
pub fn acceptor(config: &AccessConfig) -> Result<Option<TlsAcceptor>, BadCertificate> {
    match (&config.tls_cert, &config.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => read(certificate, key).map(Some),
        (Some(_), None) | (None, Some(_)) => Err(BadCertificate::Half),
    }
}

fn read(certificate: &Path, key: &Path) -> Result<TlsAcceptor, BadCertificate> {
    let failed = |path: &Path, what| {
        let path = path.to_owned();
        move |source| BadCertificate::Pem { path, what, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(certificate, "a certificate"))?;
    if chain.is_empty() {
        return Err(BadCertificate::Empty(certificate.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key, "a private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(BadCertificate::Unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
