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
