//! Who calls, as services see it: members of a message field that the gateway
//! alone fills.

use std::fmt;
use std::sync::Arc;

use prost_reflect::{Kind, MessageDescriptor};

use super::shape::Shape;
use crate::wire;

/// Something the gateway knows of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Member {
    UserId,
    Token,
    DeviceModel,
    DeviceId,
    OsVersion,
    Platform,
    PackageId,
    AppVersion,
    Language,
    NetworkUsed,
    Ip,
    UserAgent,
    SessionId,
    ReqId,
}

impl Member {
    /// Every member.
    pub const ALL: [Self; 14] = [
        Self::UserId,
        Self::Token,
        Self::DeviceModel,
        Self::DeviceId,
        Self::OsVersion,
        Self::Platform,
        Self::PackageId,
        Self::AppVersion,
        Self::Language,
        Self::NetworkUsed,
        Self::Ip,
        Self::UserAgent,
        Self::SessionId,
        Self::ReqId,
    ];

    /// The names that a message may give the member: `camelCase` and `snake_case`.
    pub const fn names(self) -> [&'static str; 2] {
        match self {
            Self::UserId => ["userId", "user_id"],
            Self::Token => ["token", "token"],
            Self::DeviceModel => ["deviceModel", "device_model"],
            Self::DeviceId => ["deviceId", "device_id"],
            Self::OsVersion => ["osVersion", "os_version"],
            Self::Platform => ["platform", "platform"],
            Self::PackageId => ["packageId", "package_id"],
            Self::AppVersion => ["appVersion", "app_version"],
            Self::Language => ["language", "language"],
            Self::NetworkUsed => ["networkUsed", "network_used"],
            Self::Ip => ["ip", "ip"],
            Self::UserAgent => ["userAgent", "user_agent"],
            Self::SessionId => ["sessionId", "session_id"],
            Self::ReqId => ["reqId", "req_id"],
        }
    }
}

/// Where the members stand in a service's identity message.
///
/// Routes whose identity messages agree share one layout, so that a session
/// encodes its members once for all of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Members that stay the same within a session, with their field numbers.
    of_session: Vec<(Member, u32)>,
    /// The field number of the request's id.
    req_id: Option<u32>,
}

impl Layout {
    /// The members that `message` has, by name, as singular strings. A field
    /// of such a name and another type is none of the gateway's.
    pub fn of(message: &MessageDescriptor) -> Self {
        let number = |member: Member| {
            member.names().iter().find_map(|name| {
                let field = message.get_field_by_name(name)?;
                let is_string = matches!(field.kind(), Kind::String) && !field.is_list();
                is_string.then(|| field.number())
            })
        };
        let mut of_session: Vec<_> = Member::ALL
            .into_iter()
            .filter(|member| *member != Member::ReqId)
            .filter_map(|member| Some((member, number(member)?)))
            .collect();
        of_session.sort_by_key(|(_, number)| *number);
        Self { of_session, req_id: number(Member::ReqId) }
    }

    /// The members that stay the same within a session, serialized. Empty
    /// values are left out, as proto3 does.
    pub fn encode<'v>(&self, value: impl Fn(Member) -> &'v str) -> Vec<u8> {
        let mut out = Vec::new();
        for (member, number) in &self.of_session {
            let value = value(*member);
            if !value.is_empty() {
                wire::put_len(&mut out, *number, value.as_bytes());
            }
        }
        out
    }

    /// The field number of the request's id, where the message has one.
    pub fn req_id(&self) -> Option<u32> {
        self.req_id
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let req_id = self.req_id.map(|number| (Member::ReqId, number));
        f.debug_map().entries(self.of_session.iter().copied().chain(req_id)).finish()
    }
}

/// The field of a request message that holds the caller's identity.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The field's number in the request message.
    pub number: u32,
    /// What the field's message has.
    pub layout: Arc<Layout>,
    /// The wire types of the request message's fields.
    pub shape: Shape,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::FILE_DESCRIPTOR_SET;
    use crate::routing::Descriptors;
    use prost_reflect::DynamicMessage;

    fn message(name: &str) -> MessageDescriptor {
        let demo = Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap();
        demo.pool().get_message_by_name(name).unwrap()
    }

    #[test]
    fn members_are_found_by_name_and_encoded_under_their_numbers() {
        let common_req = message("pb.CommonReq");
        let layout = Layout::of(&common_req);
        assert_eq!(layout.req_id(), None);
        let encoded = layout.encode(|member| match member {
            Member::Language => "",
            member => member.names()[1],
        });
        let decoded = DynamicMessage::decode(common_req, &*encoded).unwrap();
        let text =
            |name: &str| decoded.get_field_by_name(name).unwrap().as_str().unwrap().to_owned();
        assert_eq!(text("userId"), "user_id");
        assert_eq!(text("userAgent"), "user_agent");
        assert_eq!(text("language"), "");
        assert!(!decoded.has_field_by_name("language"));
    }

    #[test]
    fn a_field_of_another_type_is_left_alone() {
        // `data` of the demo's CommonReq is bytes, and no member; Page has none at all.
        assert_eq!(Layout::of(&message("pb.Page")), Layout { of_session: vec![], req_id: None });
    }
}
