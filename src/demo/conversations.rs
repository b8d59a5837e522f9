//! Recipients: messages become pushes to the members of their conversations.

use std::collections::BTreeSet;

use prost::Message as _;

use crate::proto::demo::{MsgData, MsgDataList};
use crate::proto::push::{Confirm, PushRequest, Target};
use crate::proto::session::PushEvent;

/// The pushes that bring accepted messages to their conversations: one for each
/// conversation, with its messages in their order. The session that sent them
/// knows them already; the sender's other devices do not.
pub(super) fn pushes(
    messages: Vec<MsgData>,
    sender: &str,
    sending_session: Option<&str>,
) -> Vec<PushRequest> {
    let mut conversations: Vec<(String, MsgDataList)> = Vec::new();
    for message in messages {
        match conversations.iter_mut().find(|(id, _)| *id == message.conv_id) {
            Some((_, list)) => list.msg_data_list.push(message),
            None => {
                let id = message.conv_id.clone();
                conversations.push((id, MsgDataList { msg_data_list: vec![message] }));
            }
        }
    }
    let push = |(id, list): (String, MsgDataList)| PushRequest {
        push_id: list.msg_data_list.first().map(|m| m.server_msg_id.clone()).unwrap_or_default(),
        target: Some(Target {
            except_session_ids: sending_session.into_iter().map(str::to_owned).collect(),
            ..members(&id, sender)
        }),
        event: PushEvent::PushMsgDataList.into(),
        data: list.encode_to_vec().into(),
        confirm: Confirm::Queued.into(),
        deadline: None,
    };
    conversations.into_iter().map(push).collect()
}

/// If a conversation's id is a list of names joined by colons, its members are
/// these users and the sender; any other is a room of all logged-in users.
fn members(conversation: &str, sender: &str) -> Target {
    if !conversation.contains(':') {
        return Target { everyone: true, ..Target::default() };
    }
    let named = conversation.split(':').filter(|name| !name.is_empty());
    let users: BTreeSet<_> = named.chain([sender]).map(str::to_owned).collect();
    Target { user_ids: users.into_iter().collect(), ..Target::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(conv_id: &str, id: &str) -> MsgData {
        MsgData { conv_id: conv_id.to_owned(), server_msg_id: id.to_owned(), ..MsgData::default() }
    }

    #[test]
    fn names_joined_by_colons_are_the_members_with_the_sender() {
        assert_eq!(members("alice:bob", "bob").user_ids, ["alice", "bob"]);
        assert_eq!(members("alice:bob", "carol").user_ids, ["alice", "bob", "carol"]);
        assert_eq!(members("alice::", "bob").user_ids, ["alice", "bob"]);
        assert!(!members("alice:bob", "bob").everyone);
    }

    #[test]
    fn any_other_conversation_is_a_room_of_everybody() {
        let room = members("lobby", "bob");
        assert!(room.everyone && room.user_ids.is_empty());
    }

    #[test]
    fn each_conversation_gets_its_messages_in_order_but_not_the_sending_session() {
        let messages = vec![message("a:b", "1"), message("lobby", "2"), message("a:b", "3")];
        let pushes = pushes(messages, "a", Some("s1"));
        let ids = |push: &PushRequest| {
            let list = MsgDataList::decode(push.data.clone()).unwrap().msg_data_list;
            list.into_iter().map(|message| message.server_msg_id).collect::<Vec<_>>()
        };
        assert_eq!(pushes.iter().map(ids).collect::<Vec<_>>(), [vec!["1", "3"], vec!["2"]]);
        for push in &pushes {
            assert_eq!(push.target.as_ref().unwrap().except_session_ids, ["s1"]);
            assert_eq!(push.event, 0);
        }
    }
}
