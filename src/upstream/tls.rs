//! TLS towards upstreams: PEM files to a rustls client configuration.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::pem::{self, PemError, Unfit};

/// How connections to an upstream are secured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The CAs that may sign the server's certificate. Absent: the public web's
    /// roots.
    pub ca: Option<Pem>,
    /// The gateway's own certificate chain, for mutual TLS. Needs `key`.
    pub cert: Option<Pem>,
    /// The private key of `cert`: PKCS#8, PKCS#1 or SEC1.
    pub key: Option<Pem>,
    /// The name the server's certificate must carry. Absent: the address's host.
    pub domain: Option<String>,
}

/// The contents of a PEM file. Two are equal when their contents are, so a
/// rotated certificate makes a different configuration.
#[derive(Clone)]
pub struct Pem {
    source: String,
    contents: Zeroizing<Vec<u8>>,
}

/// TLS material that cannot be used. No error repeats a file's contents.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// PEM without the expected contents.
    #[error("{source_name}: {error}")]
    Pem {
        /// The file.
        source_name: String,
        /// The error.
        error: PemError,
    },
    /// Certificates or a key that are invalid, or do not match.
    #[error("{source_name}: {error}")]
    Unfit {
        /// The file, or both.
        source_name: String,
        /// The error.
        error: Unfit,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
    /// Certificate without key, or key without certificate.
    #[error("tls has {given} but not {missing}: mutual TLS needs both")]
    HalfIdentity {
        /// The configuration key that is set.
        given: &'static str,
        /// The configuration key that is missing.
        missing: &'static str,
    },
    /// A domain no certificate can carry.
    #[error("`{name}` is not a host name that a certificate can carry: {error}")]
    Name {
        /// The name.
        name: String,
        /// The parser's error.
        error: InvalidDnsNameError,
    },
    /// TLS settings that nothing uses.
    #[error("tls is set, but every address is plain: write https:// instead of http://")]
    Unused,
}

impl Pem {
    /// Reads a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let source = path.as_ref().display().to_string();
        match std::fs::read(path) {
            Ok(contents) => Ok(Self { source, contents: Zeroizing::new(contents) }),
            Err(error) => Err(TlsError::Read { path: source, error }),
        }
    }

    /// Takes PEM from memory; `source` is its name in errors.
    pub fn new(source: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self { source: source.into(), contents: Zeroizing::new(contents.into()) }
    }

    fn holding<T>(&self, parse: fn(&[u8]) -> Result<T, PemError>) -> Result<T, TlsError> {
        parse(&self.contents)
            .map_err(|error| TlsError::Pem { source_name: self.source.clone(), error })
    }
}

impl PartialEq for Pem {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

impl Eq for Pem {}

/// The contents may be a private key: only the source is shown.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({})", self.source)
    }
}

impl TlsConfig {
    /// The rustls configuration for HTTP/1.1 with a server that is no upstream.
    pub(crate) fn for_http1(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = Arc::unwrap_or_clone(client_config(self)?);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Builds the rustls configuration. HTTP/2 is the only protocol offered.
pub(super) fn client_config(tls: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?
        .with_root_certificates(roots(tls.ca.as_ref())?)
        .with_no_client_auth();
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = cert.holding(pem::certificates)?;
            let pair = pem::identity(chain, key.holding(pem::private_key)?);
            let pair = pair.map_err(|error| TlsError::Unfit {
                source_name: format!("{} and {}", cert.source, key.source),
                error,
            })?;
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        }
        (None, None) => {}
        (Some(_), None) => {
            return Err(TlsError::HalfIdentity { given: "cert", missing: "key" });
        }
        (None, Some(_)) => {
            return Err(TlsError::HalfIdentity { given: "key", missing: "cert" });
        }
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Pem>) -> Result<RootCertStore, TlsError> {
    let Some(ca) = ca else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    pem::authorities(ca.holding(pem::certificates)?)
        .map_err(|error| TlsError::Unfit { source_name: ca.source.clone(), error })
}

/// The name to verify: `domain`, or else the host of the address. An IPv6
/// address may stand in brackets.
pub(super) fn server_name(
    domain: Option<&str>,
    host: &str,
) -> Result<ServerName<'static>, TlsError> {
    let name = domain.unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned())
        .map_err(|error| TlsError::Name { name: name.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Pem, Pem) {
        let issued = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
        (
            Pem::new("c.pem", issued.cert.pem()),
            Pem::new("k.pem", issued.signing_key.serialize_pem()),
        )
    }

    fn error(tls: &TlsConfig) -> String {
        client_config(tls).unwrap_err().to_string()
    }

    #[test]
    fn only_http2_is_offered() {
        let config = client_config(&TlsConfig::default()).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2"]);
    }

    #[test]
    fn a_certificate_needs_its_key_and_the_other_way_round() {
        let (cert, key) = pair();
        let both = TlsConfig { cert: Some(cert), key: Some(key), ..TlsConfig::default() };
        assert!(client_config(&both).is_ok());
        let said = error(&TlsConfig { key: None, ..both.clone() });
        assert_eq!(said, "tls has cert but not key: mutual TLS needs both");
        let said = error(&TlsConfig { cert: None, ..both });
        assert_eq!(said, "tls has key but not cert: mutual TLS needs both");
    }

    #[test]
    fn errors_name_the_file_and_what_it_lacks() {
        let (cert, key) = pair();
        let swapped =
            TlsConfig { cert: Some(key.clone()), key: Some(cert.clone()), ..TlsConfig::default() };
        let said = error(&swapped);
        assert!(said.starts_with("k.pem: it holds a private key; the certificate is"), "{said}");
        let no_key =
            TlsConfig { key: Some(cert.clone()), cert: Some(cert), ca: None, domain: None };
        let said = error(&no_key);
        assert!(said.starts_with("c.pem: it holds a certificate; its private key is"), "{said}");
        let no_ca = TlsConfig { ca: Some(Pem::new("ca.pem", "nothing")), ..TlsConfig::default() };
        assert!(error(&no_ca).starts_with("ca.pem: the file is not PEM"), "{}", error(&no_ca));
        let missing = Pem::read("/nowhere/ca.pem").unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/ca.pem: "), "{missing}");
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused() {
        let ((cert, _), (_, key)) = (pair(), pair());
        let mixed = TlsConfig { cert: Some(cert), key: Some(key), ..TlsConfig::default() };
        let said = error(&mixed);
        assert!(
            said.starts_with("c.pem and k.pem: the private key does not belong to the certificate"),
            "{said}"
        );
    }

    #[test]
    fn the_contents_and_not_the_file_make_two_the_same() {
        assert_eq!(Pem::new("a", "x"), Pem::new("b", "x"));
        assert_ne!(Pem::new("a", "x"), Pem::new("a", "y"));
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let pem = Pem::new("k.pem", "secret");
        assert_eq!(format!("{pem:?}"), "Pem(k.pem)");
    }

    #[test]
    fn names_are_hosts_or_addresses() {
        for (domain, host) in [(None, "msg"), (None, "::1"), (None, "[::1]"), (Some("a.b"), "c")] {
            assert!(server_name(domain, host).is_ok(), "{domain:?} {host}");
        }
        let said = server_name(Some("a b"), "msg").unwrap_err().to_string();
        assert!(said.starts_with("`a b` is not a host name"), "{said}");
    }
}
