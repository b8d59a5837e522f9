//! Certificate chains with their keys, and authorities, for use in TLS.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore};

/// Why a certificate, or one with its key, is not fit for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// They are of different pairs.
    #[error(
        "the private key does not belong to the certificate; the first certificate of the file \
         must be the one that was made for this key"
    )]
    OtherKey,
    /// A certificate that is not X.509, or not of version 3.
    #[error("a certificate cannot be parsed: it must be X.509 of version 3")]
    Certificate,
    /// A key that TLS has no use for.
    #[error(
        "the private key is of a kind that TLS here does not know; RSA of 2048 bits and more, \
         EC on P-256, P-384 or P-521, and Ed25519 are"
    )]
    Key,
    /// A certificate that cannot be an authority's.
    #[error("a certificate cannot be used as an authority's: it must be X.509 of version 3")]
    Authority,
}

/// Combines a chain with its key, if they belong together.
///
/// # Errors
///
/// Why they do not.
pub fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, Unfit> {
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    // The texts of rustls may repeat bytes of its input.
    pair.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Unfit::OtherKey,
        rustls::Error::InvalidCertificate(_) => Unfit::Certificate,
        _ => Unfit::Key,
    })
}

/// Makes authorities of certificates.
///
/// # Errors
///
/// One of them cannot be one.
pub fn authorities(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| Unfit::Authority)?;
    }
    Ok(roots)
}
