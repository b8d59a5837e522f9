//! A part of a message, written as JSON, that other messages are held against.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

use super::fields::{self, ConfigError, Place};

/// Expected contents of a message.
///
/// Fields that are not named may hold anything. A field that the message does
/// not have set counts as its default, as everywhere in protobuf: `{"code": 0}`
/// matches an empty message, however `code` is declared (plain, `optional`, a
/// wrapper, within a message that is absent). Values are compared by meaning,
/// however they are written: enums by name or number, 64-bit integers as numbers
/// or texts. Of a map the named entries must be there; lists must be equal. The
/// empty pattern matches everything.
///
/// Where the field is no message, `{"not": value}` stands for every other value:
/// `{"msg": {"not": ""}}` for any text that is not empty.
#[derive(Debug, Clone)]
pub struct Pattern {
    message: MessageDescriptor,
    fields: Vec<(FieldDescriptor, Expected)>,
}

#[derive(Debug, Clone)]
enum Expected {
    Message(Pattern),
    Value(Value),
    Not(Value),
}

impl Pattern {
    /// Reads `json` as a part of `message`. `root` is the beginning of errors'
    /// paths.
    pub fn new(
        json: &Map<String, Json>,
        message: &MessageDescriptor,
        root: &str,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let pattern = read(message, json, Place::root(root), &mut errors);
        if errors.is_empty() { Ok(pattern) } else { Err(errors) }
    }

    /// Whether the message has the pattern's contents. Never, for one of another
    /// type than the pattern was made for.
    pub fn matches(&self, message: &DynamicMessage) -> bool {
        message.descriptor() == self.message
            && self
                .fields
                .iter()
                .all(|(field, expected)| expected.matches(&message.get_field(field)))
    }

    /// Whether it matches a message in which nothing is set.
    pub(super) fn matches_empty(&self) -> bool {
        self.matches(&DynamicMessage::new(self.message.clone()))
    }

    /// Whether no field is named.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the pattern names the field at `path`, or a field around it.
    pub(super) fn names(&self, path: &[FieldDescriptor]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let mut named = self.fields.iter().filter(|(field, _)| field == first);
        named.any(|(_, expected)| match expected {
            Expected::Message(pattern) => pattern.names(rest),
            Expected::Value(_) | Expected::Not(_) => true,
        })
    }
}

impl Expected {
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Message(pattern), Value::Message(message)) => pattern.matches(message),
            (Self::Message(_), _) => false,
            (Self::Value(Value::Map(expected)), Value::Map(entries)) => expected
                .iter()
                .all(|(key, value)| entries.get(key).is_some_and(|entry| is_alike(value, entry))),
            (Self::Value(expected), value) => is_alike(expected, value),
            (Self::Not(other), value) => !is_alike(other, value),
        }
    }
}

/// Whether two values are the same where an absent field is its default.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Message(one), Value::Message(other)) => {
            // Here it is a difference whether a number is absent or 0.
            let is_any_type = one.descriptor().full_name() == "google.protobuf.Value";
            let is_set = |field: &FieldDescriptor| one.has_field(field) || other.has_field(field);
            one.descriptor() == other.descriptor()
                && one.descriptor().fields().filter(is_set).all(|field| {
                    (!is_any_type || one.has_field(&field) == other.has_field(&field))
                        && is_alike(&one.get_field(&field), &other.get_field(&field))
                })
        }
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_alike(one, other)))
        }
        (one, other) => one == other,
    }
}

fn read(
    message: &MessageDescriptor,
    json: &Map<String, Json>,
    at: Place<'_>,
    errors: &mut Vec<ConfigError>,
) -> Pattern {
    let mut expected = Vec::with_capacity(json.len());
    for (name, value) in json {
        let at = at.member(name);
        let read = fields::find(message, name).and_then(|field| {
            let inner = fields::plain_message(&field).filter(|_| !field.is_list());
            let value = match (inner, value) {
                (Some(inner), Json::Object(json)) => {
                    Expected::Message(read(&inner, json, at, errors))
                }
                _ => match all_but(&field, value) {
                    Some(other) => Expected::Not(fields::read(message, &field, other.clone())?),
                    None => Expected::Value(fields::read(message, &field, value.clone())?),
                },
            };
            Ok((field, value))
        });
        match read {
            Ok(field) => expected.push(field),
            Err(problem) => errors.push(at.error(problem)),
        }
    }
    Pattern { message: message.clone(), fields: expected }
}

/// The value that `{"not": value}` excludes, where the field itself takes no
/// JSON object.
fn all_but<'j>(field: &FieldDescriptor, json: &'j Json) -> Option<&'j Json> {
    let kind = field.kind();
    let takes_objects = match kind.as_message() {
        _ if field.is_map() => true,
        Some(_) if field.is_list() => false,
        Some(message) => !fields::is_text(message),
        None => false,
    };
    let members = json.as_object().filter(|members| !takes_objects && members.len() == 1)?;
    members.get("not")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{method, object};
    use super::*;

    fn matches(pattern: Json, message: Json) -> bool {
        let descriptor = method().output();
        let pattern = Pattern::new(&object(pattern), &descriptor, "accept_when").unwrap();
        pattern.matches(&DynamicMessage::deserialize(descriptor, message).unwrap())
    }

    #[test]
    fn what_is_not_named_may_be_anything() {
        assert!(matches(json!({}), json!({"code": 5})));
        assert!(matches(json!({"code": 5}), json!({"code": 5, "msg": "x"})));
        assert!(!matches(json!({"code": 5, "msg": "y"}), json!({"code": 5, "msg": "x"})));
    }

    #[test]
    fn what_is_unset_counts_as_its_default() {
        assert!(matches(json!({"code": 0, "msg": "", "status": "Success"}), json!({})));
        assert!(matches(json!({"detail": {"text": ""}}), json!({})));
        for absent in [
            json!({"note": "", "count": 0, "wrapped": "", "flagged": false, "at": "1970-01-01T00:00:00Z"}),
            json!({"detail": {"until": 0, "inner": {"text": ""}}, "roles": [], "limits": {}}),
        ] {
            assert!(matches(absent.clone(), json!({})), "{absent}");
        }
        // The same where it is there and its default.
        let present = json!({"note": "", "count": 0, "wrapped": "", "flagged": false, "detail": {"inner": {}}});
        assert!(matches(present.clone(), present.clone()));
        assert!(matches(
            json!({"note": "", "count": "0", "wrapped": "", "flagged": false}),
            present
        ));
        for other in [
            json!({"note": "x"}),
            json!({"wrapped": "x"}),
            json!({"flagged": true}),
            json!({"count": 1}),
        ] {
            let names: Map<_, _> = other
                .as_object()
                .unwrap()
                .keys()
                .map(|name| (name.clone(), default(name)))
                .collect();
            assert!(!matches(Json::Object(names), other.clone()), "{other}");
            assert!(!matches(other.clone(), json!({})), "{other}");
        }
        assert!(!matches(json!({"detail": {"text": "x"}}), json!({})));
    }

    fn default(name: &str) -> Json {
        match name {
            "count" => json!(0),
            "flagged" => json!(false),
            _ => json!(""),
        }
    }

    #[test]
    fn any_value_but_one_can_be_asked_for() {
        for (pattern, yes, no) in [
            (json!({"msg": {"not": ""}}), json!({"msg": "x"}), json!({})),
            (json!({"note": {"not": ""}}), json!({"note": "x"}), json!({"note": ""})),
            (json!({"wrapped": {"not": ""}}), json!({"wrapped": "x"}), json!({"wrapped": ""})),
            (json!({"flagged": {"not": false}}), json!({"flagged": true}), json!({})),
            (json!({"code": {"not": 0}}), json!({"code": 7}), json!({"code": 0})),
            (json!({"status": {"not": "Success"}}), json!({"status": 9}), json!({"status": 0})),
            (json!({"roles": {"not": []}}), json!({"roles": ["x"]}), json!({})),
            (json!({"detail": {"text": {"not": ""}}}), json!({"detail": {"text": "x"}}), json!({})),
            (
                json!({"at": {"not": "1970-01-01T00:00:00Z"}}),
                json!({"at": "1970-01-01T00:00:01Z"}),
                json!({}),
            ),
        ] {
            assert!(matches(pattern.clone(), yes), "{pattern}");
            assert!(!matches(pattern.clone(), no), "{pattern}");
        }
        for mistake in [
            json!({"msg": {"not": 1}}),
            json!({"msg": {"nit": ""}}),
            json!({"msg": {"not": "", "is": ""}}),
            json!({"detail": {"not": {}}}),
            json!({"limits": {"not": {}}}),
        ] {
            let descriptor = method().output();
            let pattern = Pattern::new(&object(mistake.clone()), &descriptor, "reject_when");
            assert!(pattern.is_err(), "{mistake}");
        }
    }

    #[test]
    fn what_a_pattern_names_is_known() {
        let output = method().output();
        let pattern = json!({"detail": {"text": ""}, "msg": {"not": ""}});
        let pattern = Pattern::new(&object(pattern), &output, "accept_when").unwrap();
        let names = |path: &str| {
            pattern
                .names(super::super::TextField::new(path, output.clone(), "reason").unwrap().path())
        };
        assert!(names("msg") && names("detail.text"));
        assert!(!names("code") && !names("detail.until"));
        assert!(!pattern.matches_empty());
    }

    #[test]
    fn spelling_does_not_matter() {
        let message = json!({"status": 1, "level": "9007199254740993"});
        for pattern in [
            json!({"status": "Denied"}),
            json!({"status": 1}),
            json!({"level": 9_007_199_254_740_993_i64}),
            json!({"level": "9007199254740993"}),
        ] {
            assert!(matches(pattern.clone(), message.clone()), "{pattern}");
        }
        assert!(!matches(json!({"level": 9_007_199_254_740_992_i64}), message));
    }

    #[test]
    fn of_a_map_the_named_entries_count_and_lists_are_compared_whole() {
        let message = json!({"limits": {"a": 1, "b": 2}, "roles": ["x", "y"]});
        assert!(matches(json!({"limits": {"a": 1}}), message.clone()));
        assert!(!matches(json!({"limits": {"c": 0}}), message.clone()));
        assert!(matches(json!({"roles": ["x", "y"]}), message.clone()));
        assert!(!matches(json!({"roles": ["x"]}), message));
    }

    #[test]
    fn a_value_that_can_never_be_is_a_mistake() {
        let pattern = object(json!({"detail": {"until": "soon"}, "status": "Gone"}));
        let errors = Pattern::new(&pattern, &method().output(), "accept_when").unwrap_err();
        assert_eq!(errors[0].path, "accept_when.detail.until");
        assert_eq!(errors[1].path, "accept_when.status");
    }
}
