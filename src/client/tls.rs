//! How the gateway's certificate is checked.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::pem::{self, PemError, Unfit};

/// The trusted authorities, and the certificate that is shown if one is asked for.
/// Made once for any number of connections.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Authorities that nothing can be checked against, or a certificate that cannot be
/// shown. No error repeats the contents of a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Unusable PEM of authorities.
    #[error("{0}")]
    Authorities(PemError),
    /// A certificate that cannot be an authority's.
    #[error("{0}")]
    BadAuthority(Unfit),
    /// The same of the certificate that is to be shown.
    #[error("{0}")]
    Certificate(PemError),
    /// The same of its private key.
    #[error("{0}")]
    Key(PemError),
    /// A certificate to show that does not work, or not with its key.
    #[error("{0}")]
    BadIdentity(Unfit),
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
}

impl Tls {
    /// Trusts the public web's authorities, as Mozilla lists them.
    pub fn public() -> Result<Self, TlsError> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::trusting(roots)
    }

    /// Trusts the authorities in a PEM file, and no others.
    pub fn with_authorities(file: &[u8]) -> Result<Self, TlsError> {
        let certificates = pem::certificates(file).map_err(TlsError::Authorities)?;
        Self::trusting(pem::authorities(certificates).map_err(TlsError::BadAuthority)?)
    }

    /// Trusts every certificate: an attacker on the network may read and change anything.
    pub fn insecure() -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    fn trusting(roots: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Shows a certificate where the server asks for one: a PEM file with the
    /// certificate, then its chain, and one with its private key.
    pub fn with_identity(self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = pem::certificates(chain).map_err(TlsError::Certificate)?;
        let key = pem::private_key(key).map_err(TlsError::Key)?;
        let pair = pem::identity(chain, key).map_err(TlsError::BadIdentity)?;
        let mut config = Arc::unwrap_or_clone(self.0);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        Ok(Self(Arc::new(config)))
    }

    /// Has every connection shake hands in full, as new clients do, where one
    /// client would resume its earlier session.
    #[must_use]
    pub fn without_resumption(self) -> Self {
        let mut config = Arc::unwrap_or_clone(self.0);
        config.resumption = Resumption::disabled();
        Self(Arc::new(config))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0))
    }

    /// The same, with HTTP/2 as the only protocol that is offered.
    pub(super) fn http2_connector(&self) -> TlsConnector {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// Accepts any certificate for any name, but still asks for proof of its key.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
