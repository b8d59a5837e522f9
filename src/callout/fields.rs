//! Places in a JSON object, and the message fields they belong to: shared by
//! templates and patterns.

use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::routing::canonical::wrapped;
use crate::routing::suggest::closest;

/// Errors at one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The message has no such field.
    #[error("{message} has no field `{field}`; {hint}")]
    UnknownField {
        /// The message's full name.
        message: String,
        /// The field that it does not have.
        field: String,
        /// The field that may be meant, or all there are.
        hint: String,
    },
    /// The value does not fit the field.
    #[error("does not fit {field}")]
    WrongValue {
        /// The field and its type.
        field: String,
    },
    /// No value of the placeholders makes the text a value of the field.
    #[error("does not fit {field}: {reason}")]
    NeverFits {
        /// The field and its type.
        field: String,
        /// The values that the placeholders stand for.
        reason: String,
    },
    /// Braces around an unknown name.
    #[error("`{{{name}}}` is not a placeholder; {hint}")]
    UnknownPlaceholder {
        /// The name.
        name: String,
        /// The placeholder that may be meant, or all there are.
        hint: String,
    },
    /// Keys have no placeholders.
    #[error("placeholders are filled in values, not in keys")]
    PlaceholderInKey,
    /// Patterns have no placeholders.
    #[error("placeholders are filled in `request` alone; here each is a text like others")]
    PlaceholderInPattern,
    /// In JSON, bytes are base64, and clients' own data is not.
    #[error("a field of bytes cannot be filled by a placeholder")]
    PlaceholderInBytes,
    /// Everything fits by itself, but not together.
    #[error("is not a valid {message}: its fields exclude each other")]
    WrongMessage {
        /// The message's full name.
        message: String,
    },
    /// A pattern of refusals without a field is one of every response.
    #[error(
        "names no field, so every response is a refusal; name the fields that tell one, such as \
         `reject_when: {{ msg: {{ not: \"\" }} }}`"
    )]
    RefusesAll,
    /// A path goes on behind something that has no fields.
    #[error("`{before}` cannot be a field: the part before it is not a message")]
    NoMessage {
        /// The first name that leads nowhere.
        before: String,
    },
    /// The field cannot be shown as a text.
    #[error("is a {found}, but must be a text, a number or an enum")]
    NoText {
        /// The field's type.
        found: String,
    },
}

/// An error in a [`Config`](super::Config): its part, the place, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// Where in the configuration: `request.connParam.userid`, `reason`.
    pub path: String,
    /// The error there.
    #[source]
    pub problem: FieldProblem,
}

/// A place in a JSON value, as a list that grows towards its end.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

impl<'a> Place<'a> {
    pub(super) fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Member(name) }
    }

    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Member(name) }
    }

    pub(super) fn element(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Element(index) }
    }

    pub(super) fn error(&self, problem: FieldProblem) -> ConfigError {
        ConfigError { path: self.to_string(), problem }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Member(name) if self.parent.is_none() => write!(f, "{name}"),
            Step::Member(name) => write!(f, ".{name}"),
            Step::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// The field with this name, in either of its spellings.
pub(super) fn find(
    message: &MessageDescriptor,
    name: &str,
) -> Result<FieldDescriptor, FieldProblem> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name)).ok_or_else(
        || {
            let fields: Vec<_> =
                message.fields().map(|field| field.json_name().to_owned()).collect();
            FieldProblem::UnknownField {
                message: message.full_name().to_owned(),
                field: name.to_owned(),
                hint: hint(name, fields.iter().map(String::as_str)),
            }
        },
    )
}

/// Reads `value` as the value of `field`, which must be one of `message`'s.
pub(super) fn read(
    message: &MessageDescriptor,
    field: &FieldDescriptor,
    value: Value,
) -> Result<prost_reflect::Value, FieldProblem> {
    let object = Map::from_iter([(field.name().to_owned(), value)]);
    DynamicMessage::deserialize(message.clone(), Value::Object(object))
        .map(|read| read.get_field(field).into_owned())
        // The error's text may quote a value from the environment.
        .map_err(|_| wrong_value(field))
}

/// A value that does not fit the field.
pub(super) fn wrong_value(field: &FieldDescriptor) -> FieldProblem {
    FieldProblem::WrongValue { field: described(field) }
}

/// The field and its type, for messages.
pub(super) fn described(field: &FieldDescriptor) -> String {
    format!("{} ({})", field.full_name(), type_name(field))
}

/// Whether a message has a notation of its own in JSON.
pub(super) fn is_own(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
    is_text(message) || matches!(name, "Any" | "Struct" | "ListValue" | "Value" | "Empty")
}

/// Whether JSON writes the message as a text or another single value.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
    matches!(name, "Timestamp" | "Duration" | "FieldMask") || wrapped(message).is_some()
}

/// The message that a field holds, if it is written member by member in JSON.
pub(super) fn plain_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    let message = kind.as_message()?;
    (!field.is_map() && !is_own(message)).then(|| message.clone())
}

/// How a `.proto` file spells the field's type.
pub(super) fn type_name(field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        _ if field.is_map() => return "map".to_owned(),
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(names) => names.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    if field.is_list() { format!("repeated {name}") } else { name }
}

/// The probable correction of `name`, or all valid names.
pub(super) fn hint<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = all.collect();
    match closest(name, all.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if all.is_empty() => "there are none".to_owned(),
        None => format!("there are {}", all.join(", ")),
    }
}
