//! A callout's configuration that is valid, but probably not meant: its service
//! refuses with code 0 and a text.
//!
//! Absent fields count as their defaults, so `accept_when: { code: 0 }` also
//! matches an empty response, and one that holds nothing but a reason for a
//! refusal.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::fields;
use super::pattern::Pattern;
use super::text::TextField;
use crate::routing::canonical::wrapped;

/// Usual names of the field in which services give a reason.
const REASONS: [&str; 10] = [
    "msg",
    "message",
    "reason",
    "error",
    "errMsg",
    "err_msg",
    "errorMessage",
    "error_message",
    "errmsg",
    "error_msg",
];

/// A valid setting that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Which part of the configuration it is about.
    pub path: &'static str,
    /// A description of the doubt.
    pub message: String,
    /// The remedy.
    pub help: String,
}

/// Doubts that an empty response is a yes while no pattern names the field in
/// which the service gives its reason.
pub(super) fn of(
    output: &MessageDescriptor,
    accept_when: &Pattern,
    reject_when: Option<&Pattern>,
    reason: Option<&TextField>,
) -> Option<Doubt> {
    // With `reject_when` alone, all other responses are a yes on purpose.
    if accept_when.is_empty() && (reject_when.is_some() || reason.is_none()) {
        return None;
    }
    let named = |path: &[FieldDescriptor]| {
        accept_when.names(path) || reject_when.is_some_and(|pattern| pattern.names(path))
    };
    let empty_is_yes =
        accept_when.matches_empty() && !reject_when.is_some_and(Pattern::matches_empty);
    if !empty_is_yes {
        return None;
    }
    let reason = match reason {
        Some(reason) => reason.clone(),
        None => supposed_reason(output)?,
    };
    if named(reason.path()) {
        return None;
    }
    let name = name_of(reason.path());
    Some(Doubt {
        path: "accept_when",
        message: format!(
            "an empty response is accepted, and so is a refusal whose reason is in `{name}`: that \
             field is not named here"
        ),
        help: format!(
            "add `{}`, if accepted responses have it empty; else describe refusals with `reject_when`",
            written(reason.path())
        ),
    })
}

/// The field of a response in which its service seems to give a reason.
fn supposed_reason(output: &MessageDescriptor) -> Option<TextField> {
    let text = |name: &&str| {
        let field = output.get_field_by_name(name)?;
        let held = field.kind().as_message().and_then(wrapped);
        let is_text = matches!(held.unwrap_or_else(|| field.kind()), Kind::String);
        let path = is_text.then_some(*name)?;
        TextField::new(path, output.clone(), "reason").ok()
    };
    REASONS.iter().find_map(text)
}

/// `detail.text`.
fn name_of(path: &[FieldDescriptor]) -> String {
    named(path).map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
}

/// `detail: { text: "" }`.
fn written(path: &[FieldDescriptor]) -> String {
    let default = match path.last().map(FieldDescriptor::kind) {
        Some(Kind::String) => "\"\"".to_owned(),
        Some(Kind::Bool) => "false".to_owned(),
        Some(Kind::Enum(names)) => names.default_value().name().to_owned(),
        _ => "0".to_owned(),
    };
    let names: Vec<_> = named(path).collect();
    names.iter().rev().fold(default, |inside, field| {
        let is_first = names.first().is_some_and(|first| first == field);
        let pair = format!("{}: {inside}", field.json_name());
        if is_first { pair } else { format!("{{ {pair} }}") }
    })
}

/// The fields that are written in the configuration: not the fields of wrappers.
fn named(path: &[FieldDescriptor]) -> impl Iterator<Item = &FieldDescriptor> {
    path.iter().filter(|field| !fields::is_text(field.parent_message()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::{Callout, Config, method, object};
    use super::*;

    fn doubt(accept_when: Json, reject_when: Option<Json>, reason: Option<&str>) -> Option<Doubt> {
        let config = Config {
            method: method(),
            request: serde_json::Map::new(),
            accept_when: object(accept_when),
            reject_when: reject_when.map(object),
            reason: reason.map(str::to_owned),
        };
        Callout::new(config, &[]).unwrap().doubt()
    }

    #[test]
    fn a_pattern_that_an_empty_response_matches_must_name_the_reason() {
        for (accept_when, reason, says) in [
            (json!({"code": 0}), Some("msg"), "add `msg: \"\"`"),
            (json!({}), Some("msg"), "add `msg: \"\"`"),
            (json!({"code": 0}), None, "add `msg: \"\"`"),
            (json!({"count": 0}), Some("msg"), "add `msg: \"\"`"),
            (json!({"flagged": false}), Some("note"), "add `note: \"\"`"),
            (json!({"detail": {"until": 0}}), Some("detail.text"), "add `detail: { text: \"\" }`"),
            (json!({"detail": {}}), Some("detail.text"), "add `detail: { text: \"\" }`"),
            (json!({"code": 0}), Some("wrapped"), "add `wrapped: \"\"`"),
            (json!({"code": 0}), Some("status"), "add `status: Success`"),
            (json!({"at": "1970-01-01T00:00:00Z"}), Some("code"), "add `code: 0`"),
        ] {
            let doubt = doubt(accept_when.clone(), None, reason).expect("it is doubtful");
            assert_eq!(doubt.path, "accept_when", "{accept_when}");
            assert!(doubt.help.starts_with(says), "{accept_when}: {doubt:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_meant_is_not_doubted() {
        for (accept_when, reject_when, reason) in [
            (json!({"code": 0, "msg": ""}), None, Some("msg")),
            (json!({"code": 0, "msg": ""}), None, None),
            (json!({"detail": {"text": ""}}), None, Some("detail.text")),
            // An empty response is a no.
            (json!({"code": 1}), None, Some("msg")),
            (json!({"note": "welcome"}), None, Some("msg")),
            (json!({"code": 0}), Some(json!({"note": ""})), Some("msg")),
            // Named where refusals are.
            (json!({"code": 0}), Some(json!({"msg": {"not": ""}})), Some("msg")),
            (json!({}), Some(json!({"code": 7})), Some("msg")),
            // Explicit: the service refuses by its gRPC status.
            (json!({}), None, None),
        ] {
            assert_eq!(doubt(accept_when.clone(), reject_when, reason), None, "{accept_when}");
        }
    }
}
