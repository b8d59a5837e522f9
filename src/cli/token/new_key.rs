//! Keys to sign tokens with, and their files.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use clap::ValueEnum;
use pem_rfc7468::LineEnding;
use serde_json::json;
use zeroize::Zeroizing;

use super::signing::SigningKey;
use crate::cli::failure::Failure;
use crate::cli::files;

/// What kind of key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// RSA of 2048 bits.
    Rs256,
    /// EC on P-256.
    Es256,
    /// Ed25519.
    Eddsa,
    /// A secret, which signs and verifies tokens.
    Hs256,
}

/// A key that is to be made.
pub(super) struct NewKey {
    pub(super) kind: Kind,
    /// Absent: the key's thumbprint.
    pub(super) kid: Option<String>,
    /// The folder.
    pub(super) out: PathBuf,
    pub(super) force: bool,
}

impl NewKey {
    /// Writes the files; returns instructions for their use.
    pub(super) fn make(self) -> Result<String, Failure> {
        if self.kind == Kind::Hs256 { self.make_secret() } else { self.make_pair() }
    }

    fn make_secret(&self) -> Result<String, Failure> {
        let secret = self.path("jwt.secret");
        self.check(&[&secret])?;
        let [high, low]: [u128; 2] = rand::random();
        let line = Zeroizing::new(format!("{high:032x}{low:032x}\n"));
        self.write(&secret, 0o600, line.as_bytes())?;
        let secret = secret.display();
        Ok(format!(
            "{secret}: the secret, for the gateway and for the issuer of tokens. In routes.yaml:\n\
             \n    auth:\n      jwt: {{ secret: {secret} }}\n\n\
             To try it:\n\
             \n    bridgehead token --secret {secret} --user USER"
        ))
    }

    fn make_pair(&self) -> Result<String, Failure> {
        let [private, public, jwks] =
            ["jwt.pem", "jwt.pub.pem", "jwks.json"].map(|name| self.path(name));
        self.check(&[&private, &public, &jwks])?;
        let pem = generate(self.kind).ok_or_else(|| Failure::failed("no key could be made"))?;
        let key = SigningKey::from_pem(pem.as_bytes()).map_err(Failure::failed)?;
        let set = json!({ "keys": [key.jwk(self.kid.clone()).map_err(Failure::failed)?] });
        let set = serde_json::to_string_pretty(&set).map_err(Failure::failed)?;
        let public_pem = pem_rfc7468::encode_string("PUBLIC KEY", LineEnding::LF, &key.public);
        self.write(&private, 0o600, pem.as_bytes())?;
        self.write(&public, 0o644, public_pem.map_err(Failure::failed)?.as_bytes())?;
        self.write(&jwks, 0o644, format!("{set}\n").as_bytes())?;
        let [private, public, jwks] = [private, public, jwks].map(|it| it.display().to_string());
        let kid = self.kid.as_ref().map(|kid| format!(" --kid {kid}")).unwrap_or_default();
        Ok(format!(
            "{private}: the private key, which signs tokens. To try it:\n\
             \n    bridgehead token --key {private}{kid} --user USER\n\n\
             {jwks}: the public key, for the gateway. In routes.yaml:\n\
             \n    auth:\n      jwt: {{ keys: {jwks} }}\n\n\
             {public}: the same as PEM, without the key's id"
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        if self.out == Path::new(".") { name.into() } else { self.out.join(name) }
    }

    fn check(&self, paths: &[&Path]) -> Result<(), Failure> {
        match paths.iter().find(|path| path.exists()) {
            Some(existing) if !self.force => Err(exists(existing)),
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path, mode: u32, content: &[u8]) -> Result<(), Failure> {
        files::write(path, mode, content, self.force).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
        })
    }
}

/// A new private key, as PKCS#8 in PEM.
fn generate(kind: Kind) -> Option<Zeroizing<String>> {
    let encode = |der: &[u8]| pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, der).ok();
    let pem = match kind {
        Kind::Rs256 => encode(RsaKeyPair::generate(KeySize::Rsa2048).ok()?.as_der().ok()?.as_ref()),
        Kind::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            encode(pair.to_pkcs8v1().ok()?.as_ref())
        }
        Kind::Eddsa => encode(Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?.as_ref()),
        Kind::Hs256 => None,
    };
    pem.map(Zeroizing::new)
}

fn exists(path: &Path) -> Failure {
    Failure::failed(format!("{} exists and is not overwritten", path.display()))
        .help("name another folder with --out, or replace the key with --force")
}
