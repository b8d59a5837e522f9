//! Files that are not, or not quite, the text that they should be; and secrets
//! that are one line of text.

use super::problem::{PemError, TextError};
use super::wanted::Wanted;

/// UTF-8's byte order mark, which editors of Windows put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The longest token or key that a file may hold, in bytes.
const LONGEST: usize = 8 * 1024;

/// A file without its byte order mark.
pub(super) fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(MARK).unwrap_or(file)
}

fn is_utf16(file: &[u8]) -> bool {
    matches!(file, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'-', 0, ..] | [b'-', 0, b'-', ..])
}

/// The error for a file that is not text.
pub(super) fn not_text(file: &[u8], wanted: Wanted) -> Option<PemError> {
    let file = without_mark(file);
    if file.trim_ascii().is_empty() {
        return Some(PemError::Empty(wanted));
    }
    if is_utf16(file) {
        return Some(PemError::Utf16);
    }
    match file {
        // A sequence whose first value is the version 3.
        [0x30, 0x82, _, _, 2, 1, 3, ..] => Some(PemError::Pkcs12(wanted)),
        [0x30, 0x80..=0x84, ..] => Some(PemError::Der(wanted)),
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some(PemError::JavaKeyStore),
        _ if !has_begin(file) && (str::from_utf8(file).is_err() || file.contains(&0)) => {
            // DER of less than 128 bytes, such as an Ed25519 key.
            let is_short_der =
                matches!(file, [0x30, len, ..] if usize::from(*len) + 2 == file.len());
            Some(if is_short_der { PemError::Der(wanted) } else { PemError::Binary(wanted) })
        }
        _ => None,
    }
}

fn has_begin(file: &[u8]) -> bool {
    file.windows(10).any(|window| window == b"-----BEGIN")
}

/// A text file's text, without a byte order mark.
///
/// # Errors
///
/// It is no UTF-8.
pub fn text(file: &[u8]) -> Result<&str, TextError> {
    if is_utf16(file) {
        return Err(TextError::Utf16);
    }
    str::from_utf8(without_mark(file)).map_err(|_| TextError::Binary)
}

/// The token or key that is a file's whole content: one line of visible ASCII,
/// 8 KiB at most, as it may stand in a header. White space at its ends is no
/// part of it.
///
/// # Errors
///
/// The file has another form.
pub fn secret(file: &[u8]) -> Result<&str, TextError> {
    let text = text(file)?.trim_matches(|c: char| c.is_ascii_whitespace());
    if text.is_empty() {
        Err(TextError::Empty)
    } else if text.contains("-----BEGIN") {
        Err(TextError::Pem)
    } else if text.len() > LONGEST {
        Err(TextError::TooLong(text.len()))
    } else if text.contains(['\n', '\r']) {
        Err(TextError::Lines(text.lines().count()))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        Err(TextError::NotVisible)
    } else {
        Ok(text)
    }
}
