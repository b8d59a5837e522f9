//! Bytes and characters that no configuration has: the encoding of a file that
//! is not UTF-8, and characters that YAML does not allow.
//!
//! The parser takes a NUL for the end of the text and calls other control
//! characters a tab, so they are looked for before it.

use super::diagnostics::Diagnostics;
use super::source::{Source, Span};

/// Byte order marks of UTF-16 and UTF-32 (Unicode, section 23.8). The longer
/// marks stand first, as one of them begins with a shorter one.
const MARKS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// The encoding of a file that is not UTF-8, if its first bytes identify it.
pub(super) fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Some(name);
    }
    // Without a mark: every second byte of a text in ASCII is a NUL.
    match bytes {
        [0, a, 0, b, ..] | [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some("UTF-16"),
        _ => None,
    }
}

/// Reports the first character that YAML does not allow.
pub(super) fn check(source: &Source, diagnostics: &mut Diagnostics) -> bool {
    let mut found = source.text().char_indices().filter(|(_, c)| !is_allowed(*c));
    let Some((at, first)) = found.next() else { return true };
    let others = found.count();
    let mut message = format!("{}, which YAML does not allow", name(first));
    match others {
        0 => {}
        1 => message.push_str("; there is one more"),
        _ => message.push_str(&format!("; there are {others} more")),
    }
    let help = if first == '\u{feff}' {
        "delete it; a byte order mark may stand at the very beginning only"
    } else {
        "delete it; in a text with double quotes it can be written as an escape, such as `\"\\x1b\"`"
    };
    diagnostics.error(Span::new(at, at + first.len_utf8()), message, help);
    false
}

/// YAML 1.2.2, section 5.1, without byte order marks inside the text.
fn is_allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => !c.is_control(),
    }
}

fn name(c: char) -> String {
    let number = format!("(U+{:04X})", u32::from(c));
    match c {
        '\0' => format!("a NUL character {number}"),
        '\u{1b}' => format!("an escape character {number}"),
        '\u{feff}' => format!("a byte order mark {number} inside the text"),
        _ => format!("a control character {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{complaint, config, with_basics};

    #[test]
    fn characters_that_yaml_does_not_allow_are_named() {
        for (text, says) in [
            ("log: {}\0\n", "t.yaml:3:8: a NUL character (U+0000), which YAML"),
            ("log: {} # \x1b[2J\n", "t.yaml:3:11: an escape character (U+001B), which"),
            ("log: {} \x07\n", "t.yaml:3:9: a control character (U+0007), which YAML"),
            ("log: {} \u{7f}\n", "t.yaml:3:9: a control character (U+007F), which YAML"),
            ("\u{feff}log: {}\n", "t.yaml:3:1: a byte order mark (U+FEFF) inside the text"),
            ("\0\0", "a NUL character (U+0000), which YAML does not allow; there is one more"),
            ("\0\0\0", "; there are 2 more; delete it"),
        ] {
            let complaint = complaint(&with_basics(text));
            assert!(complaint.contains(says), "{complaint}");
        }
    }

    #[test]
    fn other_characters_are_left_alone() {
        config("log: {} # \t é 中 😀 \u{85}\r\n");
    }

    #[test]
    fn encodings_are_told_by_their_first_bytes() {
        for (bytes, encoding) in [
            (&b"\xff\xfea\0"[..], Some("UTF-16")),
            (b"\xfe\xff\0a", Some("UTF-16")),
            (b"e\0d\0", Some("UTF-16")),
            (b"\0e\0d", Some("UTF-16")),
            (b"\xff\xfe\0\0a\0\0\0", Some("UTF-32")),
            (b"edge", None),
            (b"\0\0\0\0", None),
            (b"", None),
            (b"\xef\xbb\xbfedge", None),
        ] {
            assert_eq!(foreign_encoding(bytes), encoding, "{bytes:?}");
        }
    }
}
