//! A message written as JSON with gaps, which are filled from a login.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::fields::{self, FieldProblem, Place};
use super::placeholders::{fill, has_placeholders};
use super::{ConfigError, Login};

/// A message in JSON whose texts may contain placeholders such as `{user_id}`.
///
/// Placeholders are the names of [`Login`]'s fields. A text may have any number
/// of them, and other text between; braces around anything else stay as they
/// are. The filled text is then read as the field's type wants it, so
/// `"{user_id}"` may also fill an integer, where user ids are such.
#[derive(Debug, Clone)]
pub struct Template {
    message: MessageDescriptor,
    json: Value,
}

/// A login that does not fit the message, such as a user id that is no number
/// where the field is one. Does not say the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the client says of itself does not fit the request message")]
pub struct NoFit;

impl Template {
    /// Checks `json` against `message`. `root` is what the paths of errors
    /// begin with.
    pub fn new(
        json: Map<String, Value>,
        message: MessageDescriptor,
        root: &str,
    ) -> Result<Self, Vec<ConfigError>> {
        let root = Place::root(root);
        let mut check = Check::default();
        let sample = check.object(&message, &json, root);
        if check.errors.is_empty() {
            // What only shows when all fields are read together: two of one oneof.
            check.whole(&message, sample, root);
        }
        if check.errors.is_empty() {
            Ok(Self { message, json: Value::Object(json) })
        } else {
            Err(check.errors)
        }
    }

    /// The serialized message for one login.
    pub fn render(&self, login: &Login<'_>) -> Result<Bytes, NoFit> {
        let mut json = self.json.clone();
        fill(&mut json, login);
        let message = DynamicMessage::deserialize(self.message.clone(), json);
        message.map(|message| message.encode_to_vec().into()).map_err(|_| NoFit)
    }
}

/// Holds a template against a message. Each part returns what it makes of its
/// JSON where a sample stands for every text that has placeholders.
#[derive(Default)]
struct Check {
    errors: Vec<ConfigError>,
}

impl Check {
    fn object(
        &mut self,
        message: &MessageDescriptor,
        json: &Map<String, Value>,
        at: Place<'_>,
    ) -> Value {
        let mut sample = Map::new();
        for (name, value) in json {
            let at = at.member(name);
            match fields::find(message, name) {
                Ok(field) => {
                    sample.insert(name.clone(), self.field(message, &field, value, at));
                }
                Err(problem) => self.errors.push(at.error(problem)),
            }
        }
        Value::Object(sample)
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        value: &Value,
        at: Place<'_>,
    ) -> Value {
        match (fields::plain_message(field), value) {
            (Some(inner), Value::Object(json)) if !field.is_list() => self.object(&inner, json, at),
            (Some(inner), Value::Array(elements)) if field.is_list() => {
                let elements = elements.iter().enumerate().map(|(index, element)| match element {
                    Value::Object(json) => self.object(&inner, json, at.element(index)),
                    other => self.leaf(
                        message,
                        field,
                        &Value::from(vec![other.clone()]),
                        at.element(index),
                    ),
                });
                Value::Array(elements.collect())
            }
            _ => self.leaf(message, field, value, at),
        }
    }

    /// A value that is read at once, as all are that hold no further fields.
    fn leaf(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        value: &Value,
        at: Place<'_>,
    ) -> Value {
        let sample = match Self::sample(&field.kind(), value) {
            Ok(sample) => sample,
            Err(problem) => {
                self.errors.push(at.error(problem));
                return Value::Null;
            }
        };
        if let Err(problem) = fields::read(message, field, sample.clone()) {
            self.errors.push(at.error(problem));
        }
        sample
    }

    fn sample(kind: &Kind, value: &Value) -> Result<Value, FieldProblem> {
        Ok(match value {
            Value::String(text) if has_placeholders(text)? => match kind {
                Kind::Bytes => return Err(FieldProblem::PlaceholderInBytes),
                _ => sample_text(kind).into(),
            },
            Value::Array(elements) => {
                let samples = elements.iter().map(|element| Self::sample(kind, element));
                Value::Array(samples.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let kind = map_value(kind).unwrap_or_else(|| kind.clone());
                let samples = members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), Self::sample(&kind, value)?)));
                Value::Object(samples.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn whole(&mut self, message: &MessageDescriptor, sample: Value, at: Place<'_>) {
        if let Err(error) = DynamicMessage::deserialize(message.clone(), sample) {
            let message = message.full_name().to_owned();
            let reason = error.to_string();
            self.errors.push(at.error(FieldProblem::WrongMessage { message, reason }));
        }
    }
}

fn map_value(kind: &Kind) -> Option<Kind> {
    let entry = kind.as_message().filter(|message| message.is_map_entry())?;
    Some(entry.map_entry_value_field().kind())
}

/// A text that a field of this kind takes, if it takes texts at all.
fn sample_text(kind: &Kind) -> String {
    match kind {
        Kind::Enum(names) => names.default_value().name().to_owned(),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "1970-01-01T00:00:00Z".to_owned(),
            "google.protobuf.Duration" => "0s".to_owned(),
            _ => "0".to_owned(),
        },
        _ => "0".to_owned(),
    }
}
