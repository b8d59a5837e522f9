//! A message written as JSON with gaps, which are filled when it is sent.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::ConfigError;
use super::fields::{self, FieldProblem, Place};
use super::placeholders::{fill, has_placeholders};

/// A message in JSON whose texts may contain placeholders such as `{user_id}`.
///
/// A text may have any number of them, and other text between; braces around
/// anything else stay as they are. The filled text is then read as the field's
/// type wants it, so `"{user_id}"` may also fill an integer, where user ids are
/// such.
#[derive(Debug, Clone)]
pub struct Template {
    message: MessageDescriptor,
    json: Value,
}

/// Values that do not fit the message, such as a user id that is no number
/// where the field is one. Does not say the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the client says of itself does not fit the request message")]
pub struct NoFit;

impl Template {
    /// Checks `json` against `message`. `placeholders` are the names that it
    /// may use; `root` is what the paths of errors begin with.
    pub fn new(
        json: Map<String, Value>,
        message: MessageDescriptor,
        placeholders: &[&str],
        root: &str,
    ) -> Result<Self, Vec<ConfigError>> {
        let root = Place::root(root);
        let mut check = Check { placeholders, errors: Vec::new() };
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

    /// The serialized message, with what `value` gives for each placeholder.
    pub fn render<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<Bytes, NoFit> {
        let mut json = self.json.clone();
        fill(&mut json, &value);
        let message = DynamicMessage::deserialize(self.message.clone(), json);
        message.map(|message| message.encode_to_vec().into()).map_err(|_| NoFit)
    }
}

/// Holds a template against a message. Each part returns what it makes of its
/// JSON where a sample stands for every text that has placeholders.
struct Check<'p> {
    placeholders: &'p [&'p str],
    errors: Vec<ConfigError>,
}

impl Check<'_> {
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
        let sample = match self.sample(&field.kind(), value) {
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

    fn sample(&self, kind: &Kind, value: &Value) -> Result<Value, FieldProblem> {
        Ok(match value {
            Value::String(text) if has_placeholders(text, self.placeholders)? => match kind {
                Kind::Bytes => return Err(FieldProblem::PlaceholderInBytes),
                _ => sample_text(kind).into(),
            },
            Value::Array(elements) => {
                let samples = elements.iter().map(|element| self.sample(kind, element));
                Value::Array(samples.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let kind = map_value(kind).unwrap_or_else(|| kind.clone());
                let samples = members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), self.sample(&kind, value)?)));
                Value::Object(samples.collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn whole(&mut self, message: &MessageDescriptor, sample: Value, at: Place<'_>) {
        if DynamicMessage::deserialize(message.clone(), sample).is_err() {
            let message = message.full_name().to_owned();
            self.errors.push(at.error(FieldProblem::WrongMessage { message }));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{method, object};
    use super::*;

    const NAMES: &[&str] = &["user_id", "token", "platform", "device_id", "remote_ip"];

    fn value(name: &str) -> &'static str {
        match name {
            "user_id" => "42",
            "token" => "t0ken",
            "platform" => "IOS",
            "device_id" => "d1",
            "remote_ip" => "192.0.2.1",
            other => panic!("`{other}` is no placeholder"),
        }
    }

    fn render(template: Value) -> Result<Value, NoFit> {
        let template = Template::new(object(template), method().input(), NAMES, "request").unwrap();
        let message = DynamicMessage::decode(method().input(), template.render(value)?).unwrap();
        Ok(serde_json::to_value(message).unwrap())
    }

    fn errors(template: Value) -> Vec<String> {
        let errors =
            Template::new(object(template), method().input(), NAMES, "request").unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn placeholders_are_filled_wherever_texts_may_be() {
        let rendered = render(json!({
            "connParam": {"userId": "{user_id}", "ips": "{remote_ip}, {platform}/{token}"},
            "uid": "{user_id}",
            "tags": ["{platform}", "fixed"],
            "labels": {"token": "{token}"},
            "others": [{"deviceId": "{device_id}"}],
            "os": "{platform}",
        }));
        let expected = json!({
            "connParam": {"userId": "42", "ips": "192.0.2.1, IOS/t0ken"},
            "uid": "42",
            "tags": ["IOS", "fixed"],
            "labels": {"token": "t0ken"},
            "others": [{"deviceId": "d1"}],
            "os": "IOS",
        });
        assert_eq!(rendered, Ok(expected));
    }

    #[test]
    fn braces_around_anything_else_are_text() {
        for text in ["{\"a\": {}}", "{", "}{", "{}", "{User}", "a{ user_id }"] {
            assert_eq!(render(json!({"ticket": text})), Ok(json!({"ticket": text})), "{text}");
        }
        assert_eq!(render(json!({"ticket": "{{user_id}"})), Ok(json!({"ticket": "{42"})));
    }

    #[test]
    fn what_a_client_says_is_not_looked_at_for_placeholders() {
        let template = object(json!({"ticket": "{token}"}));
        let template = Template::new(template, method().input(), NAMES, "request").unwrap();
        let message = template.render(|_| "{user_id}\",\"flag\":true").unwrap();
        let message = DynamicMessage::decode(method().input(), message).unwrap();
        let expected = json!({"ticket": "{user_id}\",\"flag\":true"});
        assert_eq!(serde_json::to_value(message).unwrap(), expected);
    }

    #[test]
    fn both_spellings_of_a_field_are_known() {
        let rendered = render(json!({"connParam": {"device_id": "x"}}));
        assert_eq!(rendered, Ok(json!({"connParam": {"deviceId": "x"}})));
    }

    #[test]
    fn values_that_do_not_fit_are_told_from_those_that_do() {
        let template = object(json!({"uid": "{user_id}"}));
        let template = Template::new(template, method().input(), NAMES, "request").unwrap();
        assert!(template.render(value).is_ok());
        assert_eq!(template.render(|_| "zoe"), Err(NoFit));
    }

    #[test]
    fn mistakes_inside_lists_are_found() {
        let errors = errors(json!({"others": [{}, {"usr": "x"}, 7], "tags": [1]}));
        assert!(
            errors[0].starts_with("request.others[1].usr: im.ConnParam has no field"),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("request.others[2]: does not fit"), "{errors:?}");
        assert!(errors[2].starts_with("request.tags: does not fit"), "{errors:?}");
    }

    #[test]
    fn values_that_never_fit_are_mistakes() {
        for (template, says) in [
            (json!({"uid": "x"}), "request.uid: does not fit im.BeforeConnectReq.uid (int64)"),
            (json!({"flag": "{token}"}), "request.flag: does not fit"),
            (json!({"blob": "{token}"}), "request.blob: a field of bytes cannot be filled"),
            (json!({"connParam": 1}), "request.connParam: does not fit"),
            (json!({"labels": {"a": "{nobody}"}}), "request.labels: `{nobody}` stands for nothing"),
            (json!({"ticket": "a", "trusted": true}), "request: is no im.BeforeConnectReq"),
        ] {
            let errors = errors(template);
            assert!(errors[0].starts_with(says), "{errors:?}");
        }
    }
}
