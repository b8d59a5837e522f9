//! Messages as JSON, and back: protobuf's canonical mapping.

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use super::failure::Failure;
use super::files::file_or_stdin;

/// The text that an argument stands for: `-` is standard input, `@file` a file.
pub(super) fn text(argument: &str) -> Result<String, Failure> {
    let path = match (argument, argument.strip_prefix('@')) {
        ("-", _) => argument,
        (_, Some(path)) => path,
        _ => return Ok(argument.to_owned()),
    };
    String::from_utf8(file_or_stdin(Path::new(path))?)
        .map_err(|_| Failure::usage(format!("the JSON from {argument} is not UTF-8")))
}

/// The serialized message that a JSON text describes.
pub(super) fn to_message(text: &str, message: &MessageDescriptor) -> Result<Bytes, Failure> {
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(message.clone(), &mut json)
        .and_then(|message| json.end().map(|()| message.encode_to_vec().into()))
        .map_err(|error| {
            let name = message.full_name();
            Failure::usage(format!("the JSON is not a valid {name}: {error}"))
                .help(format!("{name} has {}", fields(message)))
        })
}

fn fields(message: &MessageDescriptor) -> String {
    let names: Vec<_> = message.fields().map(|field| field.json_name().to_owned()).collect();
    if names.is_empty() {
        "no fields".to_owned()
    } else {
        format!("the fields {}", names.join(", "))
    }
}

/// A serialized message as JSON, with all of its fields: unset fields are shown,
/// too, as a hint of their existence.
pub(super) fn from_message(data: Bytes, message: MessageDescriptor) -> Result<Value, Failure> {
    let name = message.full_name().to_owned();
    DynamicMessage::decode(message, data)
        .map_err(|error| error.to_string())
        .and_then(|message| with_defaults(&message))
        .map_err(|error| Failure::failed(format!("the response is not a valid {name}: {error}")))
}

/// A message as JSON, with all of its fields.
pub(super) fn with_defaults(message: &DynamicMessage) -> Result<Value, String> {
    let options = SerializeOptions::new().skip_default_fields(false);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    json.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::catalogue::Catalogue;

    fn message(name: &str) -> MessageDescriptor {
        Catalogue::demo().unwrap().message(name).unwrap()
    }

    #[test]
    fn what_is_unset_is_printed_too() {
        // isNewUser = 2: true
        let json = from_message(Bytes::from_static(b"\x10\x01"), message("pb.LoginResp")).unwrap();
        assert_eq!(json["isNewUser"], json!(true));
        assert_eq!(json["token"], json!(""));
    }

    #[test]
    fn json_that_is_not_the_message_says_what_would_be() {
        for (text, says) in [
            (r#"{"id": 1}"#, "expected a string"),
            (r#"{"name": "zoe"}"#, "unrecognized field name 'name'"),
            ("{} {}", "trailing characters"),
            ("", "EOF"),
        ] {
            let (failure, is_usage) = to_message(text, &message("pb.LoginReq")).unwrap_err().text();
            assert!(is_usage && failure.contains(says), "{failure}");
            assert!(
                failure.ends_with("pb.LoginReq has the fields commonReq, id, password"),
                "{failure}"
            );
        }
    }

    #[test]
    fn a_request_comes_from_the_argument_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("request.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(text(r#"{"a": 1}"#).unwrap(), r#"{"a": 1}"#);
        assert_eq!(text(&format!("@{}", path.display())).unwrap(), "{}");
        assert!(text("@/nowhere").unwrap_err().text().1);
    }
}
