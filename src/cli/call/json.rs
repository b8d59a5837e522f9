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
pub(super) fn to_message(text: &str, message: MessageDescriptor) -> Result<Bytes, Failure> {
    let name = message.full_name().to_owned();
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(message, &mut json)
        .and_then(|message| json.end().map(|()| message.encode_to_vec().into()))
        .map_err(|error| Failure::usage(format!("the request is no {name} in JSON: {error}")))
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
