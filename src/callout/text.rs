//! A field of a response that can be shown as a text.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::fields::{self, ConfigError, FieldProblem, Place};
use crate::routing::canonical::wrapped;

/// A field of text, a number or an enum, perhaps inside of other messages.
#[derive(Debug, Clone)]
pub struct TextField(Vec<FieldDescriptor>);

impl TextField {
    /// The field at `path`, from `message` on: `a.b` is field `b` of message
    /// `a`. `root` is the beginning of errors' paths.
    pub fn new(path: &str, message: MessageDescriptor, root: &str) -> Result<Self, ConfigError> {
        let place = Place::root(root);
        let mut message = Some(message);
        let mut fields = Vec::new();
        for name in path.split('.') {
            let Some(parent) = message else {
                return Err(place.error(FieldProblem::NoMessage { before: name.to_owned() }));
            };
            let field = fields::find(&parent, name).map_err(|problem| place.error(problem))?;
            message =
                field.kind().as_message().filter(|_| !field.is_list() && !field.is_map()).cloned();
            fields.push(field);
        }
        // The value in a wrapper is shown as if it stood there itself.
        let held = fields.last().filter(|field| !field.is_list()).and_then(|field| {
            let kind = field.kind();
            kind.as_message().filter(|message| wrapped(message).is_some())?.get_field(1)
        });
        fields.extend(held);
        let is_text = fields.last().is_some_and(|field| {
            !field.is_list() && !matches!(field.kind(), Kind::Message(_) | Kind::Bytes)
        });
        let found = fields.last().map(fields::type_name).unwrap_or_default();
        is_text.then_some(Self(fields)).ok_or_else(|| place.error(FieldProblem::NoText { found }))
    }

    /// The fields on the way to it, itself the last.
    pub(super) fn path(&self) -> &[FieldDescriptor] {
        &self.0
    }

    /// The field's text in a message; `None` when it is empty.
    pub fn text(&self, message: &DynamicMessage) -> Option<String> {
        text_at(message, &self.0)
    }
}

fn text_at(message: &DynamicMessage, path: &[FieldDescriptor]) -> Option<String> {
    let (field, rest) = path.split_first()?;
    let value = message.get_field(field);
    if let (Value::Message(inner), false) = (&*value, rest.is_empty()) {
        return text_at(inner, rest);
    }
    let text = match &*value {
        Value::String(text) => text.clone(),
        Value::EnumNumber(number) => {
            let names = field.kind();
            let name = names.as_enum().and_then(|names| names.get_value(*number));
            name.map_or_else(|| number.to_string(), |name| name.name().to_owned())
        }
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}
