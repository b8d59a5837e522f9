//! Whether a text with placeholders can ever be a value of a field: the forms
//! that the values of some placeholders always have.

use prost_reflect::Kind;

use super::canonical::is_canonical;
use super::fields::is_text;
use super::placeholders::{fill, names};
use crate::routing::canonical::wrapped;

/// Placeholders that the gateway fills, and a value of each. Values that clients
/// name, such as `{user_id}`, may be of any form.
const OWN: [(&str, &str); 7] = [
    ("connected_at", "2026-01-01T00:00:00.123Z"),
    ("connected_at_ms", "1767225600123"),
    ("disconnected_at", "2026-01-01T00:00:00.123Z"),
    ("disconnected_at_ms", "1767225600123"),
    ("close_code", "1001"),
    ("remote_ip", "192.0.2.1"),
    ("session_id", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
];

/// Why no value of its placeholders makes the text one of this kind. Says nothing
/// of the text around them, which may be a secret. `None`: some value may, or the
/// kind takes no text at all.
pub(super) fn misfit(kind: &Kind, text: &str) -> Option<String> {
    let held = kind.as_message().and_then(wrapped);
    let takes_texts = match held.as_ref().unwrap_or(kind) {
        Kind::Bool | Kind::Bytes => false,
        Kind::Message(message) => is_text(message),
        _ => true,
    };
    if !takes_texts {
        return None;
    }
    let own: Vec<_> = names(text).filter_map(|name| sample(name).map(|it| (name, it))).collect();
    let has_others = names(text).any(|name| sample(name).is_none());
    if has_others && !is_number(kind) {
        return None;
    }
    let fits = |other| is_canonical(kind, &fill(text, &|name| sample(name).unwrap_or(other)));
    if ["1", ""].into_iter().any(fits) {
        return None;
    }
    let list =
        own.iter().map(|(name, value)| format!("`{{{name}}}` stands for values such as `{value}`"));
    let list: Vec<_> = list.collect();
    Some(if list.is_empty() {
        "the text around its placeholders does not belong to a number".to_owned()
    } else {
        list.join(", ")
    })
}

fn sample(name: &str) -> Option<&'static str> {
    OWN.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
}

fn is_number(kind: &Kind) -> bool {
    let held = kind.as_message().and_then(wrapped);
    !matches!(
        held.as_ref().unwrap_or(kind),
        Kind::String | Kind::Bool | Kind::Bytes | Kind::Enum(_) | Kind::Message(_)
    )
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    fn well_known(name: &str) -> Kind {
        let name = format!("google.protobuf.{name}");
        Kind::Message(DescriptorPool::global().get_message_by_name(&name).unwrap())
    }

    #[test]
    fn milliseconds_need_64_bits_and_times_a_timestamp() {
        for name in ["{connected_at_ms}", "{disconnected_at_ms}"] {
            for kind in [Kind::Int64, Kind::Uint64, Kind::Double, Kind::String] {
                assert_eq!(misfit(&kind, name), None, "{kind:?}");
            }
            for kind in [Kind::Int32, Kind::Sfixed32, Kind::Uint32, Kind::Float] {
                let said = misfit(&kind, name).unwrap();
                assert!(said.contains("such as `1767225600123`"), "{kind:?}: {said}");
            }
            assert!(misfit(&well_known("UInt32Value"), name).is_some());
            assert!(misfit(&well_known("Timestamp"), name).is_some());
        }
        assert_eq!(misfit(&well_known("Timestamp"), "{connected_at}"), None);
        for kind in [Kind::Int64, Kind::Double, well_known("Duration")] {
            assert!(misfit(&kind, "{connected_at}").is_some(), "{kind:?}");
        }
    }

    #[test]
    fn close_codes_are_numbers_and_addresses_are_not() {
        assert_eq!(misfit(&Kind::Uint32, "{close_code}"), None);
        assert_eq!(misfit(&well_known("Int32Value"), "{close_code}"), None);
        for name in ["{remote_ip}", "{session_id}"] {
            assert!(misfit(&Kind::Uint64, name).is_some(), "{name}");
            assert_eq!(misfit(&Kind::String, name), None);
            assert_eq!(misfit(&well_known("StringValue"), name), None);
        }
    }

    #[test]
    fn what_clients_name_may_be_of_any_form() {
        let kinds = [Kind::Int32, Kind::Double, well_known("Timestamp"), well_known("Value")];
        for kind in kinds {
            for text in ["{user_id}", "{platform}", "{user_id}{device_id}"] {
                assert_eq!(misfit(&kind, text), None, "{kind:?}: {text}");
            }
        }
        assert_eq!(misfit(&Kind::Int32, "1{user_id}"), None);
        let said = misfit(&Kind::Int32, "hunter2-{user_id}").unwrap();
        assert!(!said.contains("hunter2"), "{said}");
    }
}
