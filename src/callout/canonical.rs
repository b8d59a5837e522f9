//! Which texts fit a field of a request: one for each value.
//!
//! The JSON form of protobuf reads many texts as one value: `5`, `05` and `+5`
//! are the same `int64`. Were they all taken, one user would get past a judge of
//! logins under names that the gateway takes for different users. So only the
//! text fits that printing the value gives again.

use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use crate::routing::canonical::{number, wrapped};

/// Whether the text is the one spelling of a value of this kind.
pub(super) fn is_canonical(kind: &Kind, text: &str) -> bool {
    match kind {
        Kind::String => true,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number::<i32>(text).is_some(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number::<i64>(text).is_some(),
        Kind::Uint32 | Kind::Fixed32 => number::<u32>(text).is_some(),
        Kind::Uint64 | Kind::Fixed64 => number::<u64>(text).is_some(),
        Kind::Float => number::<f32>(text).is_some_and(|value| is_one_of_its_kind(value.into())),
        Kind::Double => number::<f64>(text).is_some_and(is_one_of_its_kind),
        Kind::Enum(names) => is_first_name(names, text),
        Kind::Message(message) => is_canonical_message(message, text),
        // No text is read as one.
        Kind::Bool | Kind::Bytes => false,
    }
}

/// Whether a number equals itself and no other: not NaN, not the other zero. An
/// infinity has no one spelling.
fn is_one_of_its_kind(value: f64) -> bool {
    value.is_finite() && !(value == 0.0 && value.is_sign_negative())
}

/// Whether the text names a value of the enum. Of several names for one value,
/// it must be the first.
fn is_first_name(names: &EnumDescriptor, text: &str) -> bool {
    let Some(value) = names.get_value_by_name(text) else { return false };
    let values = &names.enum_descriptor_proto().value;
    let first = values.iter().find(|candidate| candidate.number() == value.number());
    first.is_some_and(|first| first.name() == text)
}

/// The messages that JSON writes as a text.
fn is_canonical_message(message: &MessageDescriptor, text: &str) -> bool {
    if let Some(wrapped) = wrapped(message) {
        return is_canonical(&wrapped, text);
    }
    match message.full_name() {
        // Any text is a value as it is.
        "google.protobuf.Value" => true,
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask" => {
            DynamicMessage::deserialize(message.clone(), Value::from(text))
                .ok()
                .and_then(|read| serde_json::to_value(read).ok())
                .is_some_and(|printed| printed.as_str() == Some(text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    fn well_known(name: &str) -> Kind {
        let name = format!("google.protobuf.{name}");
        Kind::Message(DescriptorPool::global().get_message_by_name(&name).unwrap())
    }

    #[track_caller]
    fn check(kinds: &[Kind], fit: &[&str], do_not: &[&str]) {
        for kind in kinds {
            for text in fit {
                assert!(is_canonical(kind, text), "{kind:?}: {text:?}");
            }
            for text in do_not {
                assert!(!is_canonical(kind, text), "{kind:?}: {text:?}");
            }
        }
    }

    const ODD: [&str; 17] = [
        "", " ", "05", "+5", "-0", "+0", "00", " 5", "5 ", "5\n", "1e3", "1E3", "0x5", "1_000",
        "NaN", "nan", "٥",
    ];

    #[test]
    fn integers_have_one_spelling() {
        let signed = [Kind::Int32, Kind::Sint32, Kind::Sfixed32, well_known("Int32Value")];
        check(&signed, &["0", "5", "-5", "2147483647", "-2147483648"], &ODD);
        check(&signed, &[], &["2147483648", "1.0", "5."]);
        let signed = [Kind::Int64, Kind::Sint64, Kind::Sfixed64, well_known("Int64Value")];
        check(&signed, &["0", "-5", "9223372036854775807"], &ODD);
        check(&signed, &[], &["9223372036854775808", "1.0"]);
        let unsigned = [Kind::Uint32, Kind::Fixed32, well_known("UInt32Value")];
        check(&unsigned, &["0", "5", "4294967295"], &ODD);
        check(&unsigned, &[], &["4294967296", "-1", "1.0"]);
        let unsigned = [Kind::Uint64, Kind::Fixed64, well_known("UInt64Value")];
        check(&unsigned, &["0", "18446744073709551615"], &ODD);
        check(&unsigned, &[], &["18446744073709551616", "-1", "1.0"]);
    }

    #[test]
    fn floats_have_one_spelling_and_equal_themselves() {
        let floats =
            [Kind::Float, Kind::Double, well_known("FloatValue"), well_known("DoubleValue")];
        check(&floats, &["0", "5", "-5", "0.5", "-1.25", "1000"], &ODD);
        let infinite = ["Infinity", "-Infinity", "inf", "-inf", "infinity", "1e999"];
        check(&floats, &[], &infinite);
        check(&floats, &[], &["1.0", ".5", "5.", "0.50", "1e-1", "-0.0", "0.1e1"]);
        // The nearest number is another one.
        check(&[Kind::Double], &["9007199254740992"], &["9007199254740993"]);
        check(&[Kind::Float], &["16777216"], &["16777217"]);
    }

    #[test]
    fn texts_that_stand_for_times_have_one_spelling() {
        check(
            &[well_known("Timestamp")],
            &["1970-01-01T00:00:00Z", "2020-02-29T12:00:00.500Z"],
            &[
                "2020-02-29T12:00:00.5Z",
                "2020-02-29T12:00:00.000Z",
                "2020-02-29T13:00:00+01:00",
                "",
            ],
        );
        check(
            &[well_known("Duration")],
            &["0s", "5s", "1.500s"],
            &["5", "05s", "+5s", "5.0s", "-0s"],
        );
        check(&[well_known("FieldMask")], &["userId", "a,b.c"], &["user_id", "a,,b"]);
    }

    #[test]
    fn texts_are_what_they_are() {
        let texts = [Kind::String, well_known("StringValue"), well_known("Value")];
        check(&texts, &["", " ", "05", "5", "naïve"], &[]);
    }

    #[test]
    fn no_text_is_a_truth_value_or_bytes() {
        let none = [Kind::Bool, Kind::Bytes, well_known("BoolValue"), well_known("BytesValue")];
        check(&none, &[], &["true", "false", "1", "0", "TRUE", "MA=="]);
        check(&[well_known("Struct"), well_known("Any"), well_known("Empty")], &[], &["", "{}"]);
    }
}
