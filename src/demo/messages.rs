//! The demo's messages.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::proto::demo::MsgData;

/// Gives messages their place in their conversations.
#[derive(Default)]
pub(super) struct Messages {
    /// The number of the last message, by conversation.
    last: Mutex<HashMap<String, u64>>,
}

impl Messages {
    /// Fills in the fields that only the service knows: a message's sender, its id,
    /// its time of arrival (milliseconds since 1970) and its number in the
    /// conversation, from 1 without gaps. A client's values there are replaced.
    pub(super) fn accept(&self, sender: &str, messages: Vec<MsgData>) -> Vec<MsgData> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut last = self.last.lock();
        let stamp = |message: MsgData| {
            let seq = last.entry(message.conv_id.clone()).or_default();
            *seq += 1;
            MsgData {
                server_msg_id: format!("{:032x}", rand::random::<u128>()),
                server_time: time.to_string(),
                sender_id: sender.to_owned(),
                seq: seq.to_string(),
                ..message
            }
        };
        messages.into_iter().map(stamp).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(conv_id: &str) -> MsgData {
        MsgData {
            conv_id: conv_id.to_owned(),
            sender_id: "somebody else".to_owned(),
            client_msg_id: "c1".to_owned(),
            ..MsgData::default()
        }
    }

    #[test]
    fn messages_are_numbered_by_conversation() {
        let messages = Messages::default();
        let mut accepted = messages.accept("zoe", vec![message("a"), message("b"), message("a")]);
        accepted.extend(messages.accept("bob", vec![message("a")]));
        let seqs: Vec<_> = accepted.iter().map(|m| (&*m.conv_id, &*m.seq)).collect();
        assert_eq!(seqs, [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3")]);
    }

    #[test]
    fn the_sender_is_the_caller_and_the_clients_id_stays() {
        let accepted = Messages::default().accept("zoe", vec![message("a"), message("a")]);
        assert_eq!(accepted[0].sender_id, "zoe");
        assert_eq!(accepted[0].client_msg_id, "c1");
        assert_ne!(accepted[0].server_msg_id, accepted[1].server_msg_id);
        assert!(accepted[0].server_time.parse::<u64>().unwrap() > 1_700_000_000_000);
    }
}
