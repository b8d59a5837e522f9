//! A file that is an HMAC secret: one line of text, without a byte order mark
//! and without white space at its ends.

use super::disguise;
use super::problem::{KeyProblem, MAX_SECRET, MIN_SECRET};
use super::text::text;

/// The secret that a file holds.
pub(super) fn of(file: &[u8]) -> Result<&str, KeyProblem> {
    let text = text(file).map_err(|problem| match disguise::found_in(file) {
        Some(found) => KeyProblem::NoSecret(found),
        None => problem,
    })?;
    // Before everything else: it gives the best description of the problem.
    if let Some(found) = disguise::found_in(text.as_bytes()) {
        return Err(KeyProblem::NoSecret(found));
    }
    if text.starts_with(['{', '[', '<']) {
        return Err(KeyProblem::NoSecret("what begins as JSON or XML"));
    }
    if text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(KeyProblem::SeveralLines);
    }
    match text.len() {
        length @ ..MIN_SECRET => Err(KeyProblem::ShortSecret(length)),
        MIN_SECRET..=MAX_SECRET => Ok(text),
        length => Err(KeyProblem::LongSecret(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_refused(file: &[u8], why: &str) {
        let problem = of(file).unwrap_err().to_string();
        assert!(problem.contains(why), "{problem}");
    }

    #[test]
    fn a_secret_is_one_line() {
        let secret = b"thirty-two bytes of shared secret";
        for file in [
            secret.to_vec(),
            [secret, &b"\n"[..]].concat(),
            [b"\xef\xbb\xbf", &secret[..], b"\r\n"].concat(),
        ] {
            assert_eq!(of(&file).unwrap().as_bytes(), secret);
        }
        assert_refused(&[secret, &b"\n"[..], secret].concat(), "has several lines");
        assert_refused(&[b"# the secret\r", &secret[..]].concat(), "has several lines");
    }

    #[test]
    fn a_secret_has_a_fitting_length() {
        assert_refused(b"s3cret\n", "a secret of 6 bytes");
        assert_refused(b"", "a secret of 0 bytes");
        assert_refused("zx".repeat(129).as_bytes(), "holds 258 bytes");
        assert!(of("zx".repeat(128).as_bytes()).is_ok());
    }

    #[test]
    fn what_everybody_may_know_is_no_secret() {
        let jwks = include_str!("../../../../tests/fixtures/jwt/jwks.json");
        let line = jwks.replace('\n', "");
        for file in [
            jwks.as_bytes(),
            line.as_bytes(),
            include_bytes!("../../../../tests/fixtures/jwt/rsa.pem"),
            b"https://id.example.com/keys/of/tenant/1",
        ] {
            for file in [file.to_vec(), [b"\xef\xbb\xbf", file].concat()] {
                assert_refused(&file, "which is not a secret");
            }
        }
        let utf16: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_refused(&utf16, "which is not a secret");
        assert_refused(b"{ not quite JSON, but hardly random }", "begins as JSON");
        let der = rcgen::KeyPair::generate().unwrap().serialize_der();
        assert_refused(&der, "an encoded key or certificate");
        assert_refused(&[200; 32], "is not text");
    }
}
