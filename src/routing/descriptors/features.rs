//! Features of editions that change the wire format: `message_encoding =
//! DELIMITED`, which makes a message field the equivalent of a proto2 group.
//!
//! The descriptor types used here do not know features, so these are looked for
//! in the serialized file. A field has the feature of its own, or of the
//! nearest thing around it that sets it: oneof, message, messages around that,
//! file.
//!
//! <https://protobuf.dev/editions/features/#message_encoding>

use std::collections::HashSet;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::wire::{self, Value};

/// Field numbers in `google/protobuf/descriptor.proto`.
mod number {
    pub(super) mod file {
        pub(crate) const MESSAGE: u32 = 4;
        pub(crate) const EXTENSION: u32 = 7;
        pub(crate) const OPTIONS: u32 = 8;
        pub(crate) const FEATURES: u32 = 50;
    }
    pub(super) mod message {
        pub(crate) const FIELD: u32 = 2;
        pub(crate) const NESTED: u32 = 3;
        pub(crate) const EXTENSION: u32 = 6;
        pub(crate) const OPTIONS: u32 = 7;
        pub(crate) const ONEOF: u32 = 8;
        pub(crate) const FEATURES: u32 = 12;
    }
    pub(super) mod field {
        pub(crate) const OPTIONS: u32 = 8;
        pub(crate) const FEATURES: u32 = 21;
    }
    pub(super) mod oneof {
        pub(crate) const OPTIONS: u32 = 2;
        pub(crate) const FEATURES: u32 = 1;
    }
    /// `FeatureSet.message_encoding`, and its value `DELIMITED`.
    pub(super) const MESSAGE_ENCODING: u32 = 5;
    pub(super) const DELIMITED: u64 = 2;
}

/// Gives every field of `file` that is delimited the type of a group. `bytes`
/// are the encoded file.
pub(super) fn delimit(file: &mut FileDescriptorProto, bytes: &[u8]) {
    use number::file::{EXTENSION, FEATURES, MESSAGE, OPTIONS};
    let is_delimited = feature(bytes, OPTIONS, FEATURES).unwrap_or(false);
    let package = file.package().to_owned();
    for (message, bytes) in file.message_type.iter_mut().zip(parts(bytes, MESSAGE)) {
        delimit_message(message, bytes, is_delimited, &package);
    }
    for (field, bytes) in file.extension.iter_mut().zip(parts(bytes, EXTENSION)) {
        delimit_field(field, bytes, is_delimited, &HashSet::new());
    }
}

fn delimit_message(message: &mut DescriptorProto, bytes: &[u8], around: bool, scope: &str) {
    use number::message::{EXTENSION, FEATURES, FIELD, NESTED, ONEOF, OPTIONS};
    if is_map_entry(message) {
        return; // neither keys nor values are ever delimited
    }
    let is_delimited = feature(bytes, OPTIONS, FEATURES).unwrap_or(around);
    let dot = if scope.is_empty() { "" } else { "." };
    let scope = format!("{scope}{dot}{}", message.name());
    let entries: HashSet<String> = message
        .nested_type
        .iter()
        .filter(|nested| is_map_entry(nested))
        .map(|entry| format!("{scope}.{}", entry.name()))
        .collect();
    let oneofs: Vec<_> = parts(bytes, ONEOF)
        .map(|bytes| feature(bytes, number::oneof::OPTIONS, number::oneof::FEATURES))
        .collect();
    for (field, bytes) in message.field.iter_mut().zip(parts(bytes, FIELD)) {
        let oneof = field.oneof_index.and_then(|index| usize::try_from(index).ok());
        let of_oneof = oneof.and_then(|index| oneofs.get(index).copied().flatten());
        delimit_field(field, bytes, of_oneof.unwrap_or(is_delimited), &entries);
    }
    for (field, bytes) in message.extension.iter_mut().zip(parts(bytes, EXTENSION)) {
        delimit_field(field, bytes, is_delimited, &entries);
    }
    for (nested, bytes) in message.nested_type.iter_mut().zip(parts(bytes, NESTED)) {
        delimit_message(nested, bytes, is_delimited, &scope);
    }
}

fn delimit_field(
    field: &mut FieldDescriptorProto,
    bytes: &[u8],
    around: bool,
    map_entries: &HashSet<String>,
) {
    use number::field::{FEATURES, OPTIONS};
    let is_map = map_entries.contains(field.type_name().trim_start_matches('.'));
    if field.r#type() == Type::Message
        && !is_map
        && feature(bytes, OPTIONS, FEATURES).unwrap_or(around)
    {
        field.set_type(Type::Group);
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
}

/// Whether messages are delimited by the features in the options of something;
/// `None` if they do not set it.
fn feature(of: &[u8], options: u32, features: u32) -> Option<bool> {
    let sets = parts(of, options).flat_map(|options| parts(options, features));
    let encodings =
        sets.flat_map(|set| wire::fields(set).flatten()).filter_map(|field| match field.value {
            Value::Varint(value) if field.number == number::MESSAGE_ENCODING => Some(value),
            _ => None,
        });
    encodings.last().map(|encoding| encoding == number::DELIMITED)
}

/// The values of a length-delimited field, in their order.
fn parts(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    wire::fields(message).flatten().filter_map(move |field| match field.value {
        Value::Len(bytes) if field.number == number => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{FieldOptions, FileOptions, MessageOptions, OneofOptions};

    use super::*;

    /// Options that say how messages are encoded.
    fn encoding(features: u32, encoding: u64) -> Vec<u8> {
        let (mut set, mut options) = (Vec::new(), Vec::new());
        wire::put_varint_field(&mut set, number::MESSAGE_ENCODING, encoding);
        wire::put_len(&mut options, features, &set);
        options
    }

    /// Puts options into a part of a serialized message, behind all else in it.
    fn with_options(part: &[u8], number: u32, options: &[u8]) -> Vec<u8> {
        let mut part = part.to_vec();
        wire::put_len(&mut part, number, options);
        part
    }

    /// The descriptor of a file, as protox compiles it.
    fn compiled(proto: &str) -> FileDescriptorProto {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.proto"), proto).unwrap();
        let mut set = protox::compile(["t.proto"], [folder.path()]).unwrap();
        set.file.remove(0)
    }

    const PROTO: &str = "syntax = \"proto2\"; package t;
        message A { optional A a = 1; repeated A b = 2; map<string, A> c = 3; optional string d = 4;
          oneof e { A f = 5; } message N { optional A a = 1; } optional N n = 6; extensions 100 to 200; }
        extend A { optional A x = 100; }";

    /// The names of the fields that are groups after `change` of the file's
    /// bytes.
    fn groups(change: impl Fn(&FileDescriptorProto) -> Vec<u8>) -> Vec<String> {
        let mut file = compiled(PROTO);
        let bytes = change(&file);
        assert_eq!(FileDescriptorProto::decode(&*bytes).unwrap().message_type.len(), 1);
        delimit(&mut file, &bytes);
        let message = &file.message_type[0];
        let nested = message.nested_type.iter().flat_map(|nested| {
            nested.field.iter().map(move |field| (format!("{}.", nested.name()), field))
        });
        let fields =
            message.field.iter().chain(&file.extension).map(|field| (String::new(), field));
        let groups = fields.chain(nested).filter(|(_, field)| field.r#type() == Type::Group);
        groups.map(|(scope, field)| scope + field.name()).collect()
    }

    /// The file with options for the message, or for one of its parts.
    fn in_message(number: u32, nth: usize, options: &[u8], file: &FileDescriptorProto) -> Vec<u8> {
        let message = file.message_type[0].encode_to_vec();
        let message = if number == 0 {
            with_options(&message, number::message::OPTIONS, options)
        } else {
            let options_of = if number == number::message::ONEOF {
                number::oneof::OPTIONS
            } else {
                number::field::OPTIONS
            };
            let (mut out, mut seen) = (Vec::new(), 0);
            for field in wire::fields(&message).flatten() {
                match field.value {
                    Value::Len(part) if field.number == number => {
                        let part = if seen == nth {
                            with_options(part, options_of, options)
                        } else {
                            part.to_vec()
                        };
                        wire::put_len(&mut out, number, &part);
                        seen += 1;
                    }
                    _ => out.extend_from_slice(&message[field.start..field.end]),
                }
            }
            out
        };
        let without = FileDescriptorProto { message_type: vec![], ..file.clone() };
        let mut bytes = without.encode_to_vec();
        wire::put_len(&mut bytes, number::file::MESSAGE, &message);
        bytes
    }

    #[test]
    fn a_file_may_delimit_all_of_its_messages() {
        let delimited = encoding(number::file::FEATURES, number::DELIMITED);
        let all =
            groups(|file| with_options(&file.encode_to_vec(), number::file::OPTIONS, &delimited));
        // Never a map, its keys or its values.
        assert_eq!(all, ["a", "b", "f", "n", "x", "N.a"]);
        assert_eq!(groups(FileDescriptorProto::encode_to_vec), [""; 0]);
        let prefixed = encoding(number::file::FEATURES, 1);
        assert_eq!(
            groups(|file| with_options(&file.encode_to_vec(), number::file::OPTIONS, &prefixed)),
            [""; 0]
        );
    }

    #[test]
    fn a_message_a_oneof_and_a_field_may_say_it_for_themselves() {
        let message = encoding(number::message::FEATURES, number::DELIMITED);
        assert_eq!(groups(|file| in_message(0, 0, &message, file)), ["a", "b", "f", "n", "N.a"]);
        let field = encoding(number::field::FEATURES, number::DELIMITED);
        assert_eq!(groups(|file| in_message(number::message::FIELD, 1, &field, file)), ["b"]);
        let oneof = encoding(number::oneof::FEATURES, number::DELIMITED);
        assert_eq!(groups(|file| in_message(number::message::ONEOF, 0, &oneof, file)), ["f"]);
    }

    #[test]
    fn the_nearest_says_it() {
        let delimited = encoding(number::file::FEATURES, number::DELIMITED);
        let prefixed = encoding(number::message::FEATURES, 1);
        let both = |file: &FileDescriptorProto| {
            with_options(&in_message(0, 0, &prefixed, file), number::file::OPTIONS, &delimited)
        };
        assert_eq!(groups(both), ["x"]);
    }

    #[test]
    fn other_options_are_no_features() {
        let mut file = compiled(PROTO);
        file.options = Some(FileOptions { java_package: Some("x".into()), ..Default::default() });
        file.message_type[0].options =
            Some(MessageOptions { deprecated: Some(true), ..Default::default() });
        file.message_type[0].oneof_decl[0].options = Some(OneofOptions::default());
        file.message_type[0].field[0].options =
            Some(FieldOptions { deprecated: Some(true), ..Default::default() });
        let bytes = file.encode_to_vec();
        let before = file.clone();
        delimit(&mut file, &bytes);
        assert_eq!(file, before);
    }
}
