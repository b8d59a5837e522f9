//! Files with the gateway's credentials for NATS and the CAs that it trusts
//! there. They are read again while the gateway runs: the next connection uses
//! their new content, and files that cannot be used change nothing.
//!
//! `async-nats` would read some of them by itself, at each connection, and log
//! bytes of the file in its errors. So it gets no file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::{KeyPair, KeyPairType};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};
use zeroize::Zeroizing;

use super::config::Tls;
use super::link_error::{CredsError, LinkError};
use crate::pem::{self, PemError, TextError};

/// The current content of the configured files.
pub(super) struct Credentials {
    /// The `.creds` file.
    user: Option<PathBuf>,
    tls: Option<Tls>,
    login: ArcSwapOption<Login>,
    shown: ArcSwapOption<CertifiedKey>,
    /// `None`: neither a CA nor a client certificate is configured.
    believed: Option<ArcSwap<WebPkiServerVerifier>>,
}

/// A user's JWT, and the key that proves it is the gateway's.
struct Login {
    jwt: String,
    key: KeyPair,
}

/// The content of all files, before it is taken over.
struct Found {
    login: Option<Arc<Login>>,
    shown: Option<Arc<CertifiedKey>>,
    believed: Option<Arc<WebPkiServerVerifier>>,
}

impl Credentials {
    /// Reads the files. Must be called where blocking for a moment is harmless.
    pub(super) fn load(user: Option<PathBuf>, tls: Option<Tls>) -> Result<Arc<Self>, LinkError> {
        let Found { login, shown, believed } = read(user.as_deref(), tls.as_ref())?;
        Ok(Arc::new(Self {
            user,
            tls,
            login: ArcSwapOption::new(login),
            shown: ArcSwapOption::new(shown),
            believed: believed.map(ArcSwap::new),
        }))
    }

    /// Whether there are any files.
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_none() && self.believed.is_none()
    }

    /// Reads the files again. If one is bad, the old contents of all stay in use.
    pub(super) fn reload(&self) -> Result<(), LinkError> {
        let Found { login, shown, believed } = read(self.user.as_deref(), self.tls.as_ref())?;
        self.login.store(login);
        self.shown.store(shown);
        if let (Some(place), Some(believed)) = (&self.believed, believed) {
            place.store(believed);
        }
        Ok(())
    }

    /// Options that use the files' content at the time of each connection.
    pub(super) fn options(self: &Arc<Self>) -> Result<ConnectOptions, LinkError> {
        let mut options = ConnectOptions::new();
        if self.user.is_some() {
            let this = Arc::clone(self);
            options = ConnectOptions::with_auth_callback(move |nonce| {
                let answer = this.answer(&nonce);
                async move { answer }
            });
        }
        if self.tls.is_some() {
            options = options.require_tls(true);
        }
        if self.believed.is_some() {
            options = options.tls_client_config(self.tls_config()?);
        }
        Ok(options)
    }

    /// Proves that the gateway is the user.
    fn answer(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let login = self.login.load();
        let login = login.as_deref().ok_or_else(|| AuthError::new("there are no credentials"))?;
        let signature = login.key.sign(nonce);
        let signature =
            signature.map_err(|_| AuthError::new("the key of the credentials fails"))?;
        let mut auth = Auth::new();
        auth.jwt = Some(login.jwt.clone());
        auth.signature = Some(signature);
        Ok(auth)
    }

    fn tls_config(self: &Arc<Self>) -> Result<ClientConfig, LinkError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| LinkError::Tls(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesClientCert>);
        // Each connection shows the certificate of its time.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let believed = self.believed.as_ref().map(ArcSwap::load_full);
        believed.ok_or_else(|| rustls::Error::General("no authorities".to_owned()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(user: Option<&Path>, tls: Option<&Tls>) -> Result<Found, LinkError> {
    let login = user.map(login).transpose()?.map(Arc::new);
    let Some(Tls { ca, client }) = tls.filter(|tls| tls.ca.is_some() || tls.client.is_some())
    else {
        return Ok(Found { login, shown: None, believed: None });
    };
    let shown = client.as_ref().map(|(cert, key)| {
        let (chain, private) = (holding(cert, pem::certificates)?, holding(key, pem::private_key)?);
        pem::identity(chain, private).map_err(|error| {
            LinkError::Tls(format!("{} and {}: {error}", cert.display(), key.display()))
        })
    });
    let shown = shown.transpose()?;
    let roots = match ca {
        Some(ca) => pem::authorities(holding(ca, pem::certificates)?)
            .map_err(|error| unusable(ca, &error))?,
        None => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    let believed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let believed = believed.build().map_err(|_| {
        let text = "the system has no authorities that NATS's certificate could come from; \
                    name a file with them: `ca`";
        LinkError::Tls(text.to_owned())
    });
    Ok(Found { login, shown, believed: Some(believed?) })
}

fn login(path: &Path) -> Result<Login, LinkError> {
    let file = std::fs::read(path).map(Zeroizing::new);
    let file = file.map_err(|error| LinkError::Unreadable(path.to_owned(), error))?;
    parse(&file).map_err(|error| LinkError::Credentials(path.to_owned(), error))
}

/// A file's content, parsed with `parse`.
fn holding<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Result<T, LinkError> {
    let file = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    parse(&Zeroizing::new(file)).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn fmt::Display) -> LinkError {
    LinkError::Tls(format!("{}: {error}", path.display()))
}

/// Reads a `.creds` file: two sections like PEM's, but their contents are not
/// base64 of DER.
///
/// <https://docs.nats.io/using-nats/developer/connecting/creds>
fn parse(file: &[u8]) -> Result<Login, CredsError> {
    let text = pem::text(file).map_err(CredsError::Text)?;
    if text.trim().is_empty() {
        return Err(CredsError::Text(TextError::Empty));
    }
    let jwt = section(text, "NATS USER JWT")?.ok_or(CredsError::NoJwt)?;
    let seed = section(text, "USER NKEY SEED")?.ok_or(CredsError::NoKey)?;
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let parts = jwt.split('.').filter(|part| !part.is_empty() && part.chars().all(is_base64url));
    if parts.count() != 3 || jwt.split('.').count() != 3 {
        return Err(CredsError::BadJwt);
    }
    let key = KeyPair::from_seed(seed).map_err(|_| CredsError::BadKey)?;
    match key.key_pair_type() {
        KeyPairType::User => Ok(Login { jwt: jwt.to_owned(), key }),
        _ => Err(CredsError::BadKey),
    }
}

/// The one line of a section.
fn section<'t>(text: &'t str, label: &str) -> Result<Option<&'t str>, CredsError> {
    let mut lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let begin = format!("BEGIN {label}");
    let Some(first) = lines.find(|line| line.contains(&begin)) else { return Ok(None) };
    if first.trim_matches('-') != begin {
        return Err(CredsError::NoLineBreaks);
    }
    match (lines.next(), lines.next()) {
        (Some(value), Some(last)) if last.trim_matches('-') == format!("END {label}") => {
            Ok(Some(value))
        }
        _ => Err(CredsError::NoLineBreaks),
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown.load_full().filter(|shown| shown.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.shown.load().is_some()
    }
}

/// Verifies with the current authorities.
impl ServerCertVerifier for Credentials {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creds(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             *** IMPORTANT ***\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
             ------END USER NKEY SEED------\n"
        )
    }

    fn good() -> String {
        creds("eyJh.eyJi.c2ln", &KeyPair::new_user().seed().unwrap())
    }

    fn problem(file: impl AsRef<[u8]>) -> CredsError {
        parse(file.as_ref()).err().unwrap()
    }

    #[test]
    fn credentials_are_read_with_a_mark_before_and_line_ends_of_windows() {
        let good = good();
        for file in [good.clone(), format!("\u{feff}{good}"), good.replace('\n', "\r\n")] {
            assert_eq!(parse(file.as_bytes()).unwrap().jwt, "eyJh.eyJi.c2ln");
        }
    }

    #[test]
    fn what_is_wrong_with_credentials_is_told() {
        let good = good();
        let account = creds("eyJh.eyJi.c2ln", &KeyPair::new_account().seed().unwrap());
        let (jwt_alone, seed_alone) = good.split_once("***").unwrap();
        assert_eq!(problem(""), CredsError::Text(TextError::Empty));
        assert_eq!(problem(good.replace('\n', " ")), CredsError::NoLineBreaks);
        assert_eq!(problem(good.replace('\n', "\\n")), CredsError::NoLineBreaks);
        assert_eq!(problem(jwt_alone), CredsError::NoKey);
        assert_eq!(problem(seed_alone), CredsError::NoJwt);
        assert_eq!(problem(account), CredsError::BadKey);
        assert_eq!(problem(good.replace("eyJh.", "")), CredsError::BadJwt);
        let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(
            problem([&[0xff, 0xfe][..], &utf16].concat()),
            CredsError::Text(TextError::Utf16)
        );
    }
}
