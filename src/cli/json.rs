//! Messages as JSON, and back: protobuf's canonical mapping.

use std::fmt::Write as _;
use std::io::Read as _;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};

use super::catalogue::Catalogue;
use crate::cli::failure::Failure;
use crate::client::Push;
use crate::proto::session::PushEvent;

/// The text that an argument stands for: `-` is standard input, `@file` a file.
pub(super) fn text(argument: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match (argument, argument.strip_prefix('@')) {
        ("-", _) => std::io::stdin().lock().read_to_string(&mut text).map(|_| text),
        (_, Some(path)) => std::fs::read_to_string(path),
        _ => return Ok(argument.to_owned()),
    };
    read.map_err(|error| {
        Failure::usage(format!("cannot read the request from {argument}: {error}"))
    })
}

/// The serialized message that a JSON text describes.
pub(super) fn to_message(text: &str, message: &MessageDescriptor) -> Result<Bytes, Failure> {
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(message.clone(), &mut json)
        .and_then(|message| json.end().map(|()| message.encode_to_vec().into()))
        .map_err(|error| {
            let name = message.full_name();
            Failure::usage(format!("the request is no {name} in JSON: {error}"))
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

/// A serialized message as JSON, with all of its fields.
pub(super) fn from_message(data: Bytes, message: MessageDescriptor) -> Result<Value, Failure> {
    let name = message.full_name().to_owned();
    // What is unset is shown, too: it tells what there could be.
    let options = SerializeOptions::new().skip_default_fields(false);
    DynamicMessage::decode(message, data)
        .map_err(|error| error.to_string())
        .and_then(|message| {
            message
                .serialize_with_options(serde_json::value::Serializer, &options)
                .map_err(|error| error.to_string())
        })
        .map_err(|error| Failure::failed(format!("the response is no {name}: {error}")))
}

/// A push as one line of JSON: its data as a message where it is known which
/// that is, else in hexadecimal.
pub(super) fn push_line(push: &Push, catalogue: &Catalogue) -> String {
    let event = PushEvent::try_from(push.event);
    let name = event.map_or_else(|_| json!(push.event), |event| json!(event.as_str_name()));
    let message = match event {
        Ok(PushEvent::PushMsgDataList) => catalogue.message("pb.MsgDataList"),
        _ => None,
    };
    let data = message.and_then(|message| from_message(push.data.clone(), message).ok());
    match data {
        Some(data) => json!({ "event": name, "data": data }),
        None => json!({ "event": name, "hex": hex(&push.data) }),
    }
    .to_string()
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(data.len() * 2), |mut hex, byte| {
        // Writing into a text cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn pushed_messages_are_printed_as_such_and_the_rest_in_hexadecimal() {
        let catalogue = Catalogue::demo().unwrap();
        let line = |event, data: &'static [u8]| {
            let line = push_line(&Push { event, data: Bytes::from_static(data) }, &catalogue);
            serde_json::from_str::<Value>(&line).unwrap()
        };
        // MsgDataList { msgDataList = 1 { clientMsgId = 1 } }
        let messages = line(0, b"\x0a\x04\x0a\x02c1");
        assert_eq!(messages["event"], "PushMsgDataList");
        assert_eq!(messages["data"]["msgDataList"][0]["clientMsgId"], "c1");
        assert_eq!(line(1, b"\x00\xff"), json!({"event": "PushNoticeData", "hex": "00ff"}));
        assert_eq!(line(77, b""), json!({"event": 77, "hex": ""}));
        assert_eq!(line(0, b"\xff"), json!({"event": "PushMsgDataList", "hex": "ff"}));
    }
}
