//! Text for people, or JSON for programs.

use bytes::Bytes;
use clap::ValueEnum;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::cli::failure::Failure;
use crate::cli::json;
use crate::proto::push::FILE_DESCRIPTOR_SET;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people.
    Text,
    /// For programs: a JSON object a line, as protobuf maps the messages of the
    /// Push API to JSON.
    Json,
}

/// One message of the Push API as lines of JSON.
#[derive(Debug)]
pub(in crate::cli) struct JsonLines(MessageDescriptor);

impl JsonLines {
    /// Lines of this message, by its name in the Push API's package.
    pub(in crate::cli) fn of(message: &str) -> Result<Self, Failure> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(Failure::failed)?;
        let name = format!("bridgehead.push.v1.{message}");
        let found = pool.get_message_by_name(&name);
        found.map(Self).ok_or_else(|| Failure::failed(format!("no message {name}")))
    }

    /// One message, with all of its fields.
    pub(in crate::cli) fn line(&self, message: &impl Message) -> Result<String, Failure> {
        let data = Bytes::from(message.encode_to_vec());
        DynamicMessage::decode(self.0.clone(), data)
            .map_err(|error| error.to_string())
            .and_then(|message| json::with_defaults(&message))
            .map(|json| json.to_string())
            .map_err(Failure::failed)
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::push::{PushReceipt, Session, push_receipt::Outcome};

    fn json_of(receipt: &PushReceipt) -> Value {
        let line = JsonLines::of("PushReceipt").unwrap().line(receipt).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_receipt_is_the_json_of_its_message() {
        let session = Session {
            session_id: "s".into(),
            connected_at: Some(Timestamp { seconds: 0, nanos: 500_000_000 }),
            ..Session::default()
        };
        let receipt = PushReceipt {
            push_id: "p".into(),
            outcome: Outcome::Acknowledged.into(),
            session: Some(session),
            ..PushReceipt::default()
        };
        let json = json_of(&receipt);
        assert_eq!(json["outcome"], "ACKNOWLEDGED");
        assert_eq!(json["session"]["sessionId"], "s");
        assert_eq!(json["session"]["encrypted"], false);
        assert_eq!(json["session"]["connectedAt"], "1970-01-01T00:00:00.500Z");
    }

    #[test]
    fn a_receipt_without_a_session_has_none() {
        let receipt = PushReceipt {
            outcome: Outcome::Offline.into(),
            user_id: "a".into(),
            ..PushReceipt::default()
        };
        let expected = json!({"pushId": "", "outcome": "OFFLINE", "userId": "a"});
        assert_eq!(json_of(&receipt), expected);
    }
}
