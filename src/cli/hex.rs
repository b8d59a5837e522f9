//! Bytes in hexadecimal, as arguments.

use bytes::Bytes;

/// The bytes that a text stands for, with spaces or colons between them or without.
pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("`{wrong}` is not a hexadecimal digit"));
    }
    // All digits are good, so this is their number.
    base16ct::mixed::decode_vec(digits)
        .map(Bytes::from)
        .map_err(|_| "expected two digits for each byte, and the last byte has one".to_owned())
}
