//! Numbers that have one spelling only, and the messages that wrap them.
//!
//! A client's own data may become a number on its way to a service. If `05` and
//! `5` were the same number there, one user would have two names here.

use std::fmt::Display;
use std::str::FromStr;

use prost_reflect::{Kind, MessageDescriptor};

/// The number that a text spells, if printing the number gives that text again:
/// `5`, and not `05`, `+5`, `-0`, ` 5`, `5.0` or `0x5`.
pub fn number<T: FromStr + Display>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    // No number is printed longer than a text that is compared with it.
    let mut rest = Compare(text);
    let same = std::fmt::write(&mut rest, format_args!("{number}")).is_ok() && rest.0.is_empty();
    same.then_some(number)
}

/// The rest of a text, which the next printed piece must start.
struct Compare<'a>(&'a str);

impl std::fmt::Write for Compare<'_> {
    fn write_str(&mut self, printed: &str) -> std::fmt::Result {
        self.0 = self.0.strip_prefix(printed).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

/// The kind of the value in a wrapper such as `google.protobuf.Int64Value`.
pub fn wrapped(message: &MessageDescriptor) -> Option<Kind> {
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    let is_wrapper = matches!(
        name,
        "Double" | "Float" | "Int64" | "UInt64" | "Int32" | "UInt32" | "Bool" | "String" | "Bytes"
    );
    message.get_field(1).filter(|_| is_wrapper).map(|field| field.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for text in ["0", "5", "-5", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(number::<i64>(text).map(|number| number.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "+5",
            "05",
            "-0",
            "00",
            "-05",
            "5 ",
            " 5",
            "5.0",
            "1e3",
            "0x5",
            "5_0",
            "٥",
            "NaN",
            "9223372036854775808",
            "--5",
        ] {
            assert_eq!(number::<i64>(text), None, "{text}");
        }
        assert_eq!(number::<u32>("4294967295"), Some(u32::MAX));
        assert_eq!(number::<u32>("4294967296"), None);
        assert_eq!(number::<u32>("-1"), None);
    }
}
