//! TLS for clients: certificate and key from PEM files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds no PEM of the kind it should.
    #[error("{what} `{}`: {source}", path.display())]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate file without a certificate.
    #[error("certificate `{}`: no certificate in this file", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate and a key that do not belong together, or are not fit for use.
    #[error("certificate `{}` and private key `{}`: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// The listener's TLS, with a certificate that can be replaced while it runs.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads a certificate chain and its private key.
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = ArcSwap::new(read(&cert, &key)?);
        Ok(Self { cert, key, current })
    }

    /// Reads both files again. New connections get the new certificate; when
    /// the files are bad the old one goes on.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(read(&self.cert, &self.key)?);
        Ok(())
    }

    /// An acceptor with the certificate of this moment.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |what, path: &Path, source| TlsError::Pem { what, path: path.into(), source };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| pem("certificate", cert, source))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: cert.into() });
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|source| pem("private key", key, source))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|source| TlsError::Unusable { cert: cert.into(), key: key.into(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_replacement_keeps_the_old_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = Tls::load(cert.clone(), key).unwrap();
        let before = tls.current.load_full();

        std::fs::write(&cert, "not a certificate").unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("tls.crt"), "{error}");
        assert!(Arc::ptr_eq(&before, &tls.current.load_full()));
    }
}
