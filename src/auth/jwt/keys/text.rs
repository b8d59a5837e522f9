//! Files as text.

use super::problem::KeyProblem;

/// The text of a file, without a byte order mark and without white space at
/// its ends.
pub(super) fn text(file: &[u8]) -> Result<&str, KeyProblem> {
    let is_utf16 = [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| file.starts_with(mark))
        || matches!(file, [0, b'{' | b'-', ..] | [b'{' | b'-', 0, ..]);
    if is_utf16 {
        return Err(KeyProblem::Utf16);
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let text = str::from_utf8(file).map_err(|_| KeyProblem::NotText)?.trim();
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return Err(KeyProblem::NotText);
    }
    Ok(text)
}
