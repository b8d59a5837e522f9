//! A message written as JSON with gaps, which are filled when it is sent.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::canonical::is_canonical;
use super::fields::{self, ConfigError, FieldProblem, Place};
use super::placeholders::{fill, has_placeholders};
use super::samples::misfit;
use crate::routing::canonical::wrapped;

/// A message in JSON whose texts may contain placeholders such as `{user_id}`.
///
/// A text may have any number of them, and other text between; braces around
/// anything else stay as they are. The filled text is then read as the field's
/// type wants it, so `"{user_id}"` may also fill an integer or an enum, where
/// user ids are such. It must be the one spelling of its value: `5`, and neither
/// `05` nor `+5`.
#[derive(Debug, Clone)]
pub struct Template {
    message: MessageDescriptor,
    root: Node,
}

/// A part of a template.
#[derive(Debug, Clone)]
enum Node {
    /// A constant part.
    Fixed(Value),
    /// A text with placeholders, for a value of this kind.
    Text(String, Kind),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// Values that do not fit the message, such as a user id that is no number
/// where the field is one, or one that has another spelling. Does not say the
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value of the session does not fit the request message")]
pub struct NoFit;

impl Template {
    /// Checks `json` against `message`. `placeholders` are the names that it
    /// may use; `root` is the beginning of errors' paths.
    pub fn new(
        json: Map<String, Value>,
        message: MessageDescriptor,
        placeholders: &[&str],
        root: &str,
    ) -> Result<Self, Vec<ConfigError>> {
        let at = Place::root(root);
        let mut check = Check { placeholders, errors: Vec::new() };
        let root = check.object(&message, json, at);
        if check.errors.is_empty() {
            // Errors that only show when all fields are read together: two of one oneof.
            check.whole(&message, root.sample(), at);
        }
        if check.errors.is_empty() { Ok(Self { message, root }) } else { Err(check.errors) }
    }

    /// The serialized message; `value` gives the value of each placeholder.
    pub fn render<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<Bytes, NoFit> {
        let json = self.root.render(&value)?;
        let message = DynamicMessage::deserialize(self.message.clone(), json);
        message.map(|message| message.encode_to_vec().into()).map_err(|_| NoFit)
    }
}

impl Node {
    fn render<'v>(&self, value: &impl Fn(&str) -> &'v str) -> Result<Value, NoFit> {
        self.fill(&mut |text, kind| {
            let text = fill(text, value);
            if is_canonical(kind, &text) { Ok(text) } else { Err(NoFit) }
        })
    }

    /// The part with a text that fits in every gap.
    fn sample(&self) -> Value {
        let sample = self.fill(&mut |_, kind| Ok::<_, NoFit>(sample_text(kind)));
        sample.unwrap_or_default()
    }

    fn fill<E>(&self, gap: &mut impl FnMut(&str, &Kind) -> Result<String, E>) -> Result<Value, E> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text, kind) => gap(text, kind)?.into(),
            Self::List(nodes) => {
                Value::Array(nodes.iter().map(|node| node.fill(gap)).collect::<Result<_, _>>()?)
            }
            Self::Object(members) => {
                let members =
                    members.iter().map(|(name, node)| Ok((name.clone(), node.fill(gap)?)));
                Value::Object(members.collect::<Result<_, _>>()?)
            }
        })
    }
}

/// Holds a template against a message.
struct Check<'p> {
    placeholders: &'p [&'p str],
    errors: Vec<ConfigError>,
}

impl Check<'_> {
    fn object(
        &mut self,
        message: &MessageDescriptor,
        json: Map<String, Value>,
        at: Place<'_>,
    ) -> Node {
        let mut members = Vec::with_capacity(json.len());
        for (name, value) in json {
            let node = match fields::find(message, &name) {
                Ok(field) => self.field(message, &field, value, at.member(&name)),
                Err(problem) => {
                    self.errors.push(at.member(&name).error(problem));
                    continue;
                }
            };
            members.push((name, node));
        }
        Node::Object(members)
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        value: Value,
        at: Place<'_>,
    ) -> Node {
        let before = self.errors.len();
        let kind = field.kind();
        let node = match value {
            Value::Object(members) if field.is_map() => {
                let value_kind = map_value(&kind).unwrap_or(kind);
                let node = |(name, value): (String, Value)| {
                    self.key(&name, at);
                    let node = self.value(field, &value_kind, value, at.member(&name));
                    (name, node)
                };
                Node::Object(members.into_iter().map(node).collect())
            }
            Value::Array(elements) if field.is_list() => {
                let node = |(index, element)| self.value(field, &kind, element, at.element(index));
                Node::List(elements.into_iter().enumerate().map(node).collect())
            }
            value => self.value(field, &kind, value, at),
        };
        // One error for one place.
        if self.errors.len() == before
            && let Err(problem) = fields::read(message, field, node.sample())
        {
            self.errors.push(at.error(problem));
        }
        node
    }

    /// One value of a field; of a list or a map, one of its elements.
    fn value(&mut self, of: &FieldDescriptor, kind: &Kind, value: Value, at: Place<'_>) -> Node {
        match (kind, value) {
            (_, Value::String(text)) => {
                let node = self.text(text, kind, at);
                if let Node::Text(text, _) = &node
                    && let Some(reason) = misfit(kind, text)
                {
                    let field = fields::described(of);
                    self.errors.push(at.error(FieldProblem::NeverFits { field, reason }));
                }
                node
            }
            (Kind::Message(message), Value::Object(json)) => match message.full_name() {
                "google.protobuf.Any" => self.any(of, json, at),
                "google.protobuf.Struct" | "google.protobuf.Value" => {
                    self.free(Value::Object(json), at)
                }
                _ if fields::is_own(message) => Node::Fixed(Value::Object(json)),
                _ => self.object(message, json, at),
            },
            (Kind::Message(message), value @ Value::Array(_)) if fields::is_own(message) => {
                self.free(value, at)
            }
            (Kind::Message(message), value) if !fields::is_own(message) && !value.is_null() => {
                self.errors.push(at.error(fields::wrong_value(of)));
                Node::Fixed(value)
            }
            (_, value) => Node::Fixed(value),
        }
    }

    fn text(&mut self, text: String, kind: &Kind, at: Place<'_>) -> Node {
        let held = kind.as_message().and_then(wrapped);
        match has_placeholders(&text, self.placeholders) {
            Err(problem) => self.errors.push(at.error(problem)),
            Ok(true) if matches!(held.as_ref().unwrap_or(kind), Kind::Bytes) => {
                self.errors.push(at.error(FieldProblem::PlaceholderInBytes));
            }
            Ok(true) => return Node::Text(text, kind.clone()),
            Ok(false) => {}
        }
        Node::Fixed(text.into())
    }

    /// Refuses a key that seems to be meant to be filled.
    fn key(&mut self, name: &str, at: Place<'_>) {
        if has_placeholders(name, self.placeholders) == Ok(true) {
            self.errors.push(at.member(name).error(FieldProblem::PlaceholderInKey));
        }
    }

    /// JSON in which every text stays a text, as in a `Struct`.
    fn free(&mut self, value: Value, at: Place<'_>) -> Node {
        match value {
            Value::String(text) => self.text(text, &Kind::String, at),
            Value::Array(elements) => {
                let node = |(index, element)| self.free(element, at.element(index));
                Node::List(elements.into_iter().enumerate().map(node).collect())
            }
            Value::Object(members) => {
                let node = |(name, value): (String, Value)| {
                    self.key(&name, at);
                    let node = self.free(value, at.member(&name));
                    (name, node)
                };
                Node::Object(members.into_iter().map(node).collect())
            }
            value => Node::Fixed(value),
        }
    }

    /// A message of a type that the JSON names itself.
    fn any(&mut self, of: &FieldDescriptor, mut json: Map<String, Value>, at: Place<'_>) -> Node {
        let url = json.remove("@type").unwrap_or_default();
        let name = url.as_str().and_then(|url| Some(url.rsplit_once('/')?.1));
        let message = name.and_then(|name| of.parent_pool().get_message_by_name(name));
        let Some(message) = message else {
            self.errors.push(at.error(fields::wrong_value(of)));
            return Node::Fixed(url);
        };
        let mut members = vec![("@type".to_owned(), Node::Fixed(url))];
        if fields::is_own(&message) {
            let kind = Kind::Message(message);
            let node = |(name, value): (String, Value)| {
                let node = self.value(of, &kind, value, at.member(&name));
                (name, node)
            };
            members.extend(json.into_iter().map(node));
        } else if let Node::Object(fields) = self.object(&message, json, at) {
            members.extend(fields);
        }
        Node::Object(members)
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

    /// Every place that a text can fill with a value of another type, and the
    /// texts that are its one spelling.
    #[test]
    fn only_the_one_spelling_of_a_value_fits() {
        let odd = ["05", "+5", "-0", "1e3", " 5", "5 ", "0x5", "NaN", "1.0", ""];
        let nested = |field: &str, value: Value| json!({"nested": {"a": {field: value}}});
        let any = |field: &str, value: Value| {
            let url = "type.googleapis.com/im.BeforeConnectReq";
            json!({"any": {"@type": url, field: value}})
        };
        let gap = || json!("{user_id}");
        for template in [
            json!({"uid": gap()}),
            json!({"uids": [1, gap()]}),
            json!({"numbers": {"a": gap()}}),
            json!({"wrapped": gap()}),
            json!({"port": gap()}),
            json!({"weight": gap()}),
            nested("uid", gap()),
            nested("wrapped", gap()),
            any("uid", gap()),
            any("uids", json!([gap()])),
            json!({"any": {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": gap()}}),
        ] {
            let made = Template::new(object(template.clone()), method().input(), NAMES, "request");
            let made = made.unwrap();
            for text in ["0", "5", "4294967295"] {
                assert!(made.render(|_| text).is_ok(), "{template}: {text}");
            }
            for text in odd {
                assert_eq!(made.render(|_| text), Err(NoFit), "{template}: {text}");
            }
        }
        for template in [json!({"os": gap()}), nested("os", gap()), any("os", gap())] {
            let made = Template::new(object(template), method().input(), NAMES, "request").unwrap();
            assert!(made.render(|_| "IOS").is_ok());
            for text in ["1", "ios", "IPHONE", "Android", ""] {
                assert_eq!(made.render(|_| text), Err(NoFit), "{text}");
            }
        }
        let at = json!({"at": gap()});
        let at = Template::new(object(at), method().input(), NAMES, "request").unwrap();
        assert!(at.render(|_| "2020-01-01T00:00:00Z").is_ok());
        assert_eq!(at.render(|_| "2020-01-01T01:00:00+01:00"), Err(NoFit));
    }

    #[test]
    fn texts_are_taken_as_they_are_and_so_is_what_the_file_says() {
        for text in ["05", "+5", "", " ", "NaN"] {
            let free = json!({"free": {"a": ["{user_id}", 1], "b": {"c": "{user_id}"}}});
            for template in [json!({"ticket": "{user_id}"}), json!({"tags": ["{user_id}"]}), free] {
                let made = Template::new(object(template), method().input(), NAMES, "request");
                assert!(made.unwrap().render(|_| text).is_ok(), "{text}");
            }
        }
        // Values in the file need not be the one spelling.
        assert_eq!(render(json!({"uid": "05"})), Ok(json!({"uid": "5"})));
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
            (json!({"bytes": "{token}"}), "request.bytes: a field of bytes cannot be filled"),
            (json!({"nested": {"a": {"flag": "{token}"}}}), "request.nested.a.flag: does not fit"),
            (json!({"any": {"@type": "{token}"}}), "request.any: does not fit"),
            (json!({"any": {"@type": "x/im.Gone", "a": 1}}), "request.any: does not fit"),
            (
                json!({"labels": {"a": "{nobody}"}}),
                "request.labels.a: `{nobody}` is not a placeholder",
            ),
            (
                json!({"labels": {"{token}": "a"}}),
                "request.labels.{token}: placeholders are filled in values, not in keys",
            ),
            (
                json!({"ticket": "a", "trusted": true}),
                "request: is not a valid im.BeforeConnectReq",
            ),
        ] {
            let errors = errors(template);
            assert!(errors[0].starts_with(says), "{errors:?}");
        }
    }
}
