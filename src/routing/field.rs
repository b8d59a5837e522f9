//! Fields of messages by their names.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

/// A field by its name in the proto file or its JSON name.
pub(super) fn field_named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}
