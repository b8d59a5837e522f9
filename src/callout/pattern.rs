//! A part of a message, written as JSON, that other messages are held against.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

use super::ConfigError;
use super::fields::{self, Place};

/// What a message must have in it.
///
/// Fields that are not named may hold anything. A field that the message does
/// not have set counts as its default, as everywhere in protobuf: `{"code": 0}`
/// matches an empty message. Values are compared as what they are, however
/// they are written: enums by name or number, 64-bit integers as numbers or
/// texts. Of a map the named entries must be there; lists must be equal. The
/// empty pattern matches everything.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<(FieldDescriptor, Expected)>);

#[derive(Debug, Clone)]
enum Expected {
    Message(Pattern),
    Value(Value),
}

impl Pattern {
    /// Reads `json` as a part of `message`. `root` is what the paths of errors
    /// begin with.
    pub fn new(
        json: &Map<String, Json>,
        message: &MessageDescriptor,
        root: &str,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let pattern = read(message, json, Place::root(root), &mut errors);
        if errors.is_empty() { Ok(pattern) } else { Err(errors) }
    }

    /// Whether the message has in it what it must. Never, for one of another
    /// type than the pattern was made for.
    pub fn matches(&self, message: &DynamicMessage) -> bool {
        self.0.iter().all(|(field, expected)| {
            field.parent_message() == &message.descriptor()
                && expected.matches(&message.get_field(field))
        })
    }
}

impl Expected {
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Message(pattern), Value::Message(message)) => pattern.matches(message),
            (Self::Message(_), _) => false,
            (Self::Value(Value::Map(expected)), Value::Map(entries)) => {
                expected.iter().all(|(key, value)| entries.get(key) == Some(value))
            }
            (Self::Value(expected), value) => expected == value,
        }
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
                _ => Expected::Value(fields::read(message, &field, value.clone())?),
            };
            Ok((field, value))
        });
        match read {
            Ok(field) => expected.push(field),
            Err(problem) => errors.push(at.error(problem)),
        }
    }
    Pattern(expected)
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
        assert!(!matches(json!({"detail": {"text": "x"}}), json!({})));
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
