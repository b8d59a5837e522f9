//! Bytes in hexadecimal, as arguments.

use bytes::Bytes;

/// The bytes that a text stands for, with spaces or colons between them or without.
pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    let digit = |c: char| {
        let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| format!("`{c}` is not a hexadecimal digit"))
    };
    let digits = text.chars().filter(|c| !c.is_whitespace() && *c != ':').map(digit);
    let digits = digits.collect::<Result<Vec<_>, _>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("expected two digits for each byte, and the last byte has one".to_owned());
    }
    Ok(pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
