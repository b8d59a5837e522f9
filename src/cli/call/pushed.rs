//! How a push that a client got is printed.

use base16ct::lower::encode_string;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value as Field};
use serde_json::{Map, Value, json};

use crate::cli::catalogue::Catalogue;
use crate::client::Push;
use crate::proto::session::PushEvent;

/// The message types of events' data.
pub(super) enum Events<'c> {
    /// All of it is this message.
    Of(MessageDescriptor),
    /// The types of the protocol, where they are described.
    Known(&'c Catalogue),
}

/// A push as one line of JSON: its data as a message where the type is known, else
/// in hexadecimal. The text that people have written stands in front, as `text`,
/// since JSON shows bytes in base64. Data that the message explains only in part is
/// printed in hexadecimal as well: any short text may pass for a message with
/// fields that are not known.
pub(super) fn line(push: &Push, events: &Events<'_>) -> String {
    let event = PushEvent::try_from(push.event);
    let message = match (events, event) {
        (Events::Of(message), _) => Some(message.clone()),
        (Events::Known(catalogue), Ok(PushEvent::PushMsgDataList)) => {
            catalogue.message("pb.MsgDataList").ok()
        }
        _ => None,
    };
    let mut line = Map::new();
    let name = event.map_or_else(|_| json!(push.event), |event| json!(event.as_str_name()));
    line.insert("event".to_owned(), name);
    let decoded = message.and_then(|message| decoded(push, message));
    let is_complete = decoded.as_ref().is_some_and(|decoded| decoded.is_complete);
    let (mut text, data) =
        decoded.map_or((None, None), |decoded| (decoded.text, Some(decoded.data)));
    if !is_complete {
        text = text.or_else(|| readable(&push.data).map(str::to_owned));
    }
    line.extend(text.map(|text| ("text".to_owned(), json!(text))));
    line.extend(data.map(|data| ("data".to_owned(), data)));
    if !is_complete {
        line.insert("hex".to_owned(), json!(encode_string(&push.data)));
    }
    Value::Object(line).to_string()
}

/// Data as a message.
struct Decoded {
    /// The contents of the messages, a line each.
    text: Option<String>,
    /// The whole as JSON.
    data: Value,
    /// Whether that is all of the data.
    is_complete: bool,
}

/// The data as this message; `None` if it cannot be decoded, or has no field of it.
fn decoded(push: &Push, message: MessageDescriptor) -> Option<Decoded> {
    let message = DynamicMessage::decode(message, push.data.clone()).ok()?;
    let is_complete = is_known(&message);
    if !is_complete && message.fields().next().is_none() {
        return None;
    }
    let data = serde_json::to_value(&message).ok()?;
    let text = contents(&message);
    Some(Decoded { text, data, is_complete })
}

/// Whether a message and its submessages have known fields only.
fn is_known(message: &DynamicMessage) -> bool {
    fn within(value: &Field) -> bool {
        match value {
            Field::Message(message) => is_known(message),
            Field::List(values) => values.iter().all(within),
            Field::Map(values) => values.values().all(within),
            _ => true,
        }
    }
    message.unknown_fields().next().is_none() && message.fields().all(|(_, value)| within(value))
}

fn contents(message: &DynamicMessage) -> Option<String> {
    let list = message.get_field_by_name("msgDataList")?;
    let content = |message: &Field| {
        let content = message.as_message()?.get_field_by_name("content")?.into_owned();
        readable(content.as_bytes()?).map(str::to_owned)
    };
    let texts: Vec<_> = list.as_list().into_iter().flatten().filter_map(content).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Bytes that are a text which a terminal can show.
fn readable(bytes: &[u8]) -> Option<&str> {
    let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let text = str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn json_of(event: i32, data: &'static [u8]) -> Value {
        let push = Push { event, data: Bytes::from_static(data) };
        serde_json::from_str(&line(&push, &Events::Known(&Catalogue::demo().unwrap()))).unwrap()
    }

    #[test]
    fn messages_are_printed_as_such_without_what_is_unset() {
        // MsgDataList { msgDataList = 1 { clientMsgId = 1 } }
        assert_eq!(
            json_of(0, b"\x0a\x04\x0a\x02c1"),
            json!({"event": "PushMsgDataList", "data": {"msgDataList": [{"clientMsgId": "c1"}]}})
        );
    }

    #[test]
    fn what_somebody_has_written_can_be_read() {
        // Two messages { content = 32 }.
        let two = json_of(0, b"\x0a\x05\x82\x02\x02hi\x0a\x06\x82\x02\x03you");
        assert_eq!(two["text"], "hi\nyou");
        assert_eq!(two["data"]["msgDataList"][0]["content"], "aGk=");
        let binary = json_of(0, b"\x0a\x05\x82\x02\x02\x00\xff");
        assert_eq!(binary.get("text"), None);
    }

    #[test]
    fn a_type_that_is_named_is_that_of_every_event() {
        let message = Catalogue::demo().unwrap().message("pb.LoginReq").unwrap();
        let events = Events::Of(message);
        let json_of = |data: &'static [u8]| -> Value {
            let push = Push { event: 77, data: Bytes::from_static(data) };
            serde_json::from_str(&line(&push, &events)).unwrap()
        };
        let decoded = json_of(b"");
        assert_eq!(decoded["event"], 77);
        assert!(decoded["data"].is_object(), "{decoded}");
        assert_eq!(json_of(b"\xff")["hex"], "ff");
    }

    #[test]
    fn data_that_the_message_does_not_explain_is_not_lost() {
        // Field 13, which MsgDataList does not have.
        assert_eq!(
            json_of(0, b"hi"),
            json!({"event": "PushMsgDataList", "text": "hi", "hex": "6869"})
        );
        // Beside a known field, and within a message.
        for data in [&b"\x0a\x04\x0a\x02c1hi"[..], b"\x0a\x07\x0a\x02c1\xf8\x3f\x01"] {
            let line = json_of(0, data);
            assert_eq!(line["data"]["msgDataList"][0]["clientMsgId"], "c1", "{line}");
            assert!(line["hex"].as_str().is_some_and(|hex| hex.starts_with("0a")), "{line}");
        }
    }

    #[test]
    fn the_rest_is_printed_in_hexadecimal() {
        assert_eq!(json_of(1, b"\x00\xff"), json!({"event": "PushNoticeData", "hex": "00ff"}));
        assert_eq!(json_of(77, b""), json!({"event": 77, "hex": ""}));
        assert_eq!(json_of(0, b"\xff"), json!({"event": "PushMsgDataList", "hex": "ff"}));
        assert_eq!(json_of(77, b"hi"), json!({"event": 77, "text": "hi", "hex": "6869"}));
        assert_eq!(json_of(77, b"\x1b[2J"), json!({"event": 77, "hex": "1b5b324a"}));
    }
}
