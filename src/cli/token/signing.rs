//! The key that tokens are signed with.

use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey};
use pem_rfc7468::LineEnding;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::auth::jwt::read_secret;
use crate::cli::failure::Failure;
use crate::cli::files;
use crate::pem;

/// A key that signs.
pub(super) struct SigningKey {
    pub(super) encoding: EncodingKey,
    /// The usual one for this key.
    pub(super) algorithm: Algorithm,
    /// The thumbprint (RFC 7638), by which the public key goes, too. A secret has
    /// none: it would help an attacker guess the secret.
    pub(super) id: Option<String>,
    /// The public half, in DER (`SubjectPublicKeyInfo`).
    pub(super) public: Vec<u8>,
}

impl SigningKey {
    /// Reads a private key in PEM.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file = files::file(path)?;
        let unusable = |what: String| files::unusable(path, &what);
        Self::from_pem(&file).map_err(unusable)
    }

    /// Reads a secret, as the gateway does.
    pub(super) fn read_secret(path: &Path) -> Result<Self, Failure> {
        let file = files::file(path)?;
        let secret = read_secret(&file).map_err(|problem| files::unusable(path, &problem))?;
        let encoding = EncodingKey::from_secret(secret);
        Ok(Self { encoding, algorithm: Algorithm::HS256, id: None, public: Vec::new() })
    }

    /// Errors contain no byte of the key.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let file = pem::private_key(pem).map_err(|error| error.to_string())?;
        let der = file.secret_der();
        if let Some(key) = elliptic(der, &ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256)
            .or_else(|| elliptic(der, &ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384))
        {
            return key;
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let der = pair.to_pkcs8v1().map_err(|_| UNFIT)?;
            let public = pair.public_key().as_der().map_err(|_| UNFIT)?;
            return Self::new(
                EncodingKey::from_ed_der(der.as_ref()),
                Algorithm::EdDSA,
                public.as_ref(),
            );
        }
        let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        let pair =
            pair.map_err(|_| "is not a usable key: expected one on P-256 or P-384, Ed25519, or RSA of 2048 bits or more")?;
        let public = pair.public_key().as_der().map_err(|_| UNFIT)?;
        Self::new(rsa_encoding(&file).ok_or(UNFIT)?, Algorithm::RS256, public.as_ref())
    }

    fn new(encoding: EncodingKey, algorithm: Algorithm, public: &[u8]) -> Result<Self, String> {
        let jwk = Jwk::from_encoding_key(&encoding, algorithm).map_err(|_| UNFIT)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| UNFIT)?;
        Ok(Self { encoding, algorithm, id: Some(id), public: public.to_vec() })
    }

    /// Whether the key is for one algorithm alone.
    pub(super) fn is_fixed(&self) -> bool {
        self.algorithm.family() == AlgorithmFamily::Ec
    }

    /// The public half for a JWKS.
    pub(super) fn jwk(&self, id: Option<String>) -> Result<Jwk, &'static str> {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).map_err(|_| UNFIT)?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_id = id.or_else(|| self.id.clone());
        Ok(jwk)
    }
}

const UNFIT: &str = "is a key that cannot sign tokens";

/// The library takes DER of PKCS#1 only; the other encoding goes in as PEM.
fn rsa_encoding(file: &PrivateKeyDer<'_>) -> Option<EncodingKey> {
    let der = file.secret_der();
    if matches!(file, PrivateKeyDer::Pkcs1(_)) {
        return Some(EncodingKey::from_rsa_der(der));
    }
    let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, der).map(Zeroizing::new);
    EncodingKey::from_rsa_pem(pem.ok()?.as_bytes()).ok()
}

/// A key on this curve, if it is one.
fn elliptic(
    der: &[u8],
    curve: &'static EcdsaSigningAlgorithm,
    algorithm: Algorithm,
) -> Option<Result<SigningKey, String>> {
    let pair = EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
    let made = || {
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| UNFIT)?;
        let public = pair.public_key().as_der().map_err(|_| UNFIT)?;
        SigningKey::new(EncodingKey::from_ec_der(pkcs8.as_ref()), algorithm, public.as_ref())
    };
    Some(made())
}
