//! Keys of a JWKS (RFC 7517), or of a single JWK.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use super::disguise;
use super::key::{Key, Kind, is_ed25519, is_p256, is_p384};
use super::problem::{KeyProblem, MAX_KEYS, MIN_SECRET};

/// Where a set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of this machine, which may hold secrets.
    Local,
    /// A URL, whose content many may read.
    Fetched,
}

/// The usable keys of a set. Others are skipped, as RFC 7517, 5 asks for: a set
/// may well have keys for other purposes.
pub(super) fn keys(text: &str, origin: Origin) -> Result<Vec<Key>, KeyProblem> {
    // The text of a syntax error consists of its kind and its place.
    let mut json: Value =
        serde_json::from_str(text).map_err(|error| KeyProblem::NotAKeySet(error.to_string()))?;
    let members = match json.get_mut("keys").map(Value::take) {
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(KeyProblem::NotAKeySet("`keys` is not a list".to_owned())),
        None => vec![json],
    };
    if members.len() > MAX_KEYS {
        return Err(KeyProblem::TooManyKeys(members.len()));
    }
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    for (index, member) in members.into_iter().enumerate() {
        match key(member, origin) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(format!("key {} {why}", index + 1)),
        }
    }
    match (keys.is_empty(), skipped.is_empty()) {
        (false, _) => Ok(keys),
        (true, true) => Err(KeyProblem::NoUsableKey("the set is empty".to_owned())),
        (true, false) => Err(KeyProblem::NoUsableKey(skipped.join(", "))),
    }
}

fn key(member: Value, origin: Origin) -> Result<Key, String> {
    // The parser's error text repeats values.
    let jwk: Jwk = serde_json::from_value(member).map_err(
        |_| "is not a valid JWK: `kty`, or a member that its type needs, is missing or wrong",
    )?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("is not for signatures".to_owned());
    }
    if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return Err("is not for verifying".to_owned());
    }
    let only = match common.key_algorithm.map(Algorithm::try_from) {
        None => None,
        Some(Ok(algorithm)) => Some(algorithm),
        Some(Err(_)) => return Err("is for an algorithm that is not supported".to_owned()),
    };
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "is of a kind that is not supported")?;
    let bytes = || decoding.try_get_as_bytes().unwrap_or_default();
    let kind = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) if origin == Origin::Fetched => {
            return Err("is a secret, which is not taken from a URL".to_owned());
        }
        AlgorithmParameters::OctetKey(_) => secret(bytes())?,
        AlgorithmParameters::RSA(_) => rsa(&decoding)?,
        AlgorithmParameters::EllipticCurve(params) => match params.curve {
            EllipticCurve::P256 if is_p256(bytes()) => Kind::P256,
            EllipticCurve::P384 if is_p384(bytes()) => Kind::P384,
            _ => return Err("is not a point on P-256 or P-384".to_owned()),
        },
        AlgorithmParameters::OctetKeyPair(_) if is_ed25519(bytes()) => Kind::Ed25519,
        _ => return Err("is of a kind that is not supported".to_owned()),
    };
    if only.is_some_and(|only| !kind.algorithms().contains(&only)) {
        return Err("is for an algorithm of another kind of key".to_owned());
    }
    Ok(Key { id: jwk.common.key_id, kind, only, decoding })
}

fn secret(bytes: &[u8]) -> Result<Kind, String> {
    if bytes.len() < MIN_SECRET {
        return Err(format!("is a secret of less than {MIN_SECRET} bytes"));
    }
    match disguise::found_in(bytes) {
        Some(found) => Err(format!("is {found} as a secret, which is none")),
        None => Ok(Kind::Hmac),
    }
}

fn rsa(key: &DecodingKey) -> Result<Kind, String> {
    let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else {
        return Err("is not an RSA key".to_owned());
    };
    let significant = n.iter().skip_while(|byte| **byte == 0).count();
    if (256..=1024).contains(&significant) {
        Ok(Kind::Rsa)
    } else {
        Err(format!("is RSA of {} bits instead of 2048 to 8192", significant * 8))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::super::KeySet;
    use super::*;

    const JWKS: &str = include_str!("../../../../tests/fixtures/jwt/jwks.json");

    #[track_caller]
    fn assert_refused(set: &Value, why: &str) {
        let problem = keys(&set.to_string(), Origin::Local).unwrap_err().to_string();
        assert!(problem.contains(why), "{problem}");
    }

    #[test]
    fn keys_for_other_purposes_are_skipped() {
        let usable: Value = serde_json::from_str(JWKS).unwrap();
        let mut members = usable["keys"].as_array().unwrap().clone();
        members[0]["use"] = json!("enc");
        members.push(json!({"kty": "future", "x": 1}));
        members.push(json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}));
        let set = KeySet(keys(&json!({ "keys": members }).to_string(), Origin::Local).unwrap());
        assert_eq!(set.fitting(Algorithm::RS256, None).count(), 0);
        assert_eq!(set.fitting(Algorithm::ES256, None).count(), 1);
    }

    #[test]
    fn a_set_without_a_usable_key_says_why_for_each() {
        let set = json!({"keys": [{"kty": "future"}, {"kty": "oct", "k": "AAAA"}, 5]});
        assert_refused(&set, "key 1 is of a kind");
        assert_refused(&set, "key 2 is a secret of less");
        assert_refused(&set, "key 3 is not a valid JWK");
        assert_refused(&json!({"keys": []}), "the set is empty");
        assert_refused(&json!({"keys": 1}), "is not a JWKS");
        assert_refused(&json!({"kty": "oct", "k": "AAAA"}), "less than 32 bytes");
    }

    #[test]
    fn a_set_has_a_bounded_number_of_keys() {
        assert_refused(&json!({"keys": vec![0; MAX_KEYS + 1]}), "has 101 keys");
    }

    #[test]
    fn a_secret_that_is_a_public_key_is_none() {
        for known in [JWKS, include_str!("../../../../tests/fixtures/jwt/ed25519.pem")] {
            let k = BASE64_URL_SAFE_NO_PAD.encode(known);
            assert_refused(&json!({"kty": "oct", "k": k}), "as a secret, which is none");
        }
    }

    #[test]
    fn a_keys_own_algorithm_is_the_only_one() {
        let key = json!({"kty": "oct", "alg": "HS512", "k": "A".repeat(64)}).to_string();
        let set = KeySet(keys(&key, Origin::Local).unwrap());
        assert_eq!(set.fitting(Algorithm::HS256, None).count(), 0);
        assert_eq!(set.fitting(Algorithm::HS512, None).count(), 1);
    }

    #[test]
    fn short_rsa_keys_are_refused() {
        let n = "v".repeat(172); // 129 bytes
        assert_refused(&json!({"kty": "RSA", "n": n, "e": "AQAB"}), "RSA of 1032 bits instead of");
    }
}
