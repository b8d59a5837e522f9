//! TLS of the gateway's listeners: certificates and keys from PEM files, read
//! again when they change. The protocols over it are not known here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pem::{self, PemError, Unfit};

/// Why a certificate or key cannot be used. No error repeats the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{what} `{}`: {source}", path.display())]
    Unreadable {
        /// `certificate`, `private key` or `client authorities`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that holds no PEM of the kind it should.
    #[error("{what} `{}`: {source}", path.display())]
    Pem {
        /// `certificate`, `private key` or `client authorities`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The problem with it.
        source: PemError,
    },
    /// Authorities that cannot be used to verify clients.
    #[error("client authorities `{}`: {source}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The problem with them.
        source: Unfit,
    },
    /// A certificate and a key that do not belong together, or are not fit for use.
    #[error("certificate `{}` and private key `{}`: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The problem with them.
        source: Unfit,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
}

/// The files for a listener's TLS.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities, one of which must have signed a client's certificate.
    /// Absent: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The application protocol that is agreed on (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A listener's TLS, with certificates that can be replaced while it runs.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    protocol: Protocol,
    current: ArcSwap<ServerConfig>,
    /// In seconds since 1970; [`i64::MAX`] where it cannot be read.
    expires: AtomicI64,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: Files, protocol: Protocol) -> Result<Self, TlsError> {
        let (config, expires) = read(&files, protocol)?;
        let (current, expires) = (ArcSwap::new(config), AtomicI64::new(expires));
        Ok(Self { files, protocol, current, expires })
    }

    /// Reads all files again. New connections get the new certificates; when
    /// the files are bad the old ones stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let (config, expires) = read(&self.files, self.protocol)?;
        self.current.store(config);
        self.expires.store(expires, Ordering::Relaxed);
        Ok(())
    }

    /// When the chain expires, in seconds since 1970.
    /// `None`: it is not known.
    pub fn expires(&self) -> Option<i64> {
        let expires = self.expires.load(Ordering::Relaxed);
        (expires != i64::MAX).then_some(expires)
    }

    /// An acceptor with the certificates of this moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(files: &Files, protocol: Protocol) -> Result<(Arc<ServerConfig>, i64), TlsError> {
    let Files { cert, key, client_ca } = files;
    let chain = holding("certificate", cert, pem::certificates)?;
    let expires = earliest_end(&chain);
    let private = holding("private key", key, pem::private_key)?;
    let unusable = |source| TlsError::Unusable { cert: cert.into(), key: key.into(), source };
    let pair = pem::identity(chain, private).map_err(unusable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok((Arc::new(config), expires))
}

/// When the first of the certificates expires: a chain is worth no more than
/// each of its parts.
fn earliest_end(chain: &[CertificateDer<'_>]) -> i64 {
    let end = |certificate: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    chain.iter().filter_map(end).min().unwrap_or(i64::MAX)
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let wrong = |source| TlsError::ClientCa { path: path.into(), source };
    let certificates = holding("client authorities", path, pem::certificates)?;
    let roots = pem::authorities(certificates).map_err(wrong)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| wrong(Unfit::Authority))
}

/// A file's content, parsed with `parse`.
fn holding<T>(
    what: &'static str,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Result<T, TlsError> {
    let file = std::fs::read(path);
    let file = file.map_err(|source| TlsError::Unreadable { what, path: path.into(), source })?;
    let file = zeroize::Zeroizing::new(file);
    parse(&file).map_err(|source| TlsError::Pem { what, path: path.into(), source })
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
        let files = Files { cert: cert.clone(), key, client_ca: None };
        let tls = Tls::load(files, Protocol::Http1).unwrap();
        let before = tls.current.load_full();

        std::fs::write(&cert, "not a certificate").unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("tls.crt"), "{error}");
        assert!(Arc::ptr_eq(&before, &tls.current.load_full()));
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let made = |year| {
            let mut params = rcgen::CertificateParams::new(["localhost".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let pair = rcgen::KeyPair::generate().unwrap();
            (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
        };
        let ((leaf, private), (authority, _)) = (made(2040), made(2035));
        std::fs::write(&cert, &leaf).unwrap();
        std::fs::write(&key, private).unwrap();
        let files = Files { cert: cert.clone(), key, client_ca: None };
        let tls = Tls::load(files, Protocol::Http1).unwrap();
        assert_eq!(tls.expires(), Some(2_208_988_800), "2040");
        std::fs::write(&cert, leaf + &authority).unwrap();
        tls.reload().unwrap();
        assert_eq!(tls.expires(), Some(2_051_222_400), "2035");
    }
}
