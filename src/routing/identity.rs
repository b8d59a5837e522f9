//! The caller's identity, as services see it: members of a message field that the
//! gateway alone fills.

use std::fmt;
use std::sync::Arc;

use bytes::BufMut;
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::form::Form;
use super::shape::Shape;
use crate::wire;

/// A property of a caller that the gateway knows.
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
    /// Members that stay the same within a session, by their field numbers.
    of_session: Vec<(Member, Place)>,
    /// The request's id.
    req_id: Option<Place>,
}

/// A field of an identity message, and how it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    number: u32,
    form: Form,
}

/// A field that is named like a member and stays empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfilled {
    /// The field's name.
    pub(super) field: String,
    /// Why it stays empty.
    pub(super) reason: &'static str,
}

impl Layout {
    /// The members that `message` has, by name: texts, integers, and wrappers
    /// of these.
    pub fn of(message: &MessageDescriptor) -> Self {
        let place = |member: Member| {
            let place = |field: FieldDescriptor| {
                let form = Form::of(&field).filter(|form| can_be(member, *form))?;
                Some(Place { number: field.number(), form })
            };
            let places = fields_of(message, member).filter_map(place);
            // Where both spellings are there, the text.
            places.min_by_key(|place| place.form.is_number())
        };
        let mut of_session: Vec<_> = Member::ALL
            .into_iter()
            .filter(|member| *member != Member::ReqId)
            .filter_map(|member| Some((member, place(member)?)))
            .collect();
        of_session.sort_by_key(|(_, place)| place.number);
        Self { of_session, req_id: place(Member::ReqId) }
    }

    /// The members that stay the same within a session, serialized. Empty
    /// members are left out, as proto3 does, and so is a text in the place of an
    /// integer, unless it is the one spelling of such a number.
    pub fn encode<'v>(&self, value: impl Fn(Member) -> &'v str) -> Vec<u8> {
        let mut out = Vec::new();
        for (member, Place { number, form }) in &self.of_session {
            form.put(&mut out, *number, value(*member));
        }
        out
    }

    /// A request's id, as far as the message has a place for it.
    pub(super) fn req_id<'r>(&self, id: &'r str) -> ReqId<'r> {
        match self.req_id {
            Some(_) if id.is_empty() => ReqId::None,
            Some(Place { number, form: Form::Text }) => ReqId::Text(number, id),
            Some(Place { number, form }) => {
                let mut field = Vec::new();
                form.put(&mut field, number, id);
                ReqId::Field(field)
            }
            None => ReqId::None,
        }
    }
}

/// A request's id on its way into an identity message.
pub(super) enum ReqId<'r> {
    /// There is none, or no place for it.
    None,
    /// As a text, in the field of this number.
    Text(u32, &'r str),
    /// A field of another kind, serialized.
    Field(Vec<u8>),
}

impl ReqId<'_> {
    /// How many bytes [`Self::put`] writes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Text(number, id) => wire::len_prefix_len(*number, id.len()) + id.len(),
            Self::Field(field) => field.len(),
        }
    }

    pub(super) fn put(&self, out: &mut impl BufMut) {
        match self {
            Self::None => {}
            Self::Text(number, id) => wire::put_len(out, *number, id.as_bytes()),
            Self::Field(field) => out.put_slice(field),
        }
    }
}

/// The fields of `message` that are named like a member and stay empty.
pub(super) fn unfilled(message: &MessageDescriptor) -> Vec<Unfilled> {
    let mut all = Vec::new();
    for member in Member::ALL {
        let fields: Vec<_> = fields_of(message, member).collect();
        let reason = |field: &FieldDescriptor| match Form::of(field) {
            None => Some(
                "the gateway fills fields of text, of integers, and of their wrappers such as \
                 google.protobuf.StringValue",
            ),
            Some(form) => (!can_be(member, form)).then_some("its value is never a number"),
        };
        let reasons: Option<Vec<_>> =
            fields.iter().map(|field| Some((field, reason(field)?))).collect();
        // One that can be filled is enough.
        for (field, reason) in reasons.into_iter().flatten() {
            all.push(Unfilled { field: field.name().to_owned(), reason });
        }
    }
    all
}

/// The fields that bear one of a member's names.
fn fields_of(message: &MessageDescriptor, member: Member) -> impl Iterator<Item = FieldDescriptor> {
    let [camel, snake] = member.names();
    let snake = Some(snake).filter(|snake| *snake != camel);
    let message = message.clone();
    [Some(camel), snake]
        .into_iter()
        .flatten()
        .filter_map(move |name| message.get_field_by_name(name))
}

/// Whether a member's value can ever get into a field of this form.
fn can_be(member: Member, form: Form) -> bool {
    !(form.is_number() && matches!(member, Member::Ip | Member::SessionId))
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let req_id = self.req_id.map(|number| (Member::ReqId, number));
        f.debug_map().entries(self.of_session.iter().copied().chain(req_id)).finish()
    }
}

/// The top-level field of a request message that holds the caller's identity:
/// the hot path.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The field's number in the request message.
    pub number: u32,
    /// The members that the field's message has.
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
        demo.message(name).unwrap()
    }

    #[test]
    fn members_are_found_by_name_and_encoded_under_their_numbers() {
        let common_req = message("pb.CommonReq");
        let layout = Layout::of(&common_req);
        assert!(matches!(layout.req_id("r1"), ReqId::None));
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
    fn a_message_without_members_has_an_empty_layout() {
        assert_eq!(Layout::of(&message("pb.Page")), Layout { of_session: vec![], req_id: None });
        assert_eq!(unfilled(&message("pb.CommonReq")), []);
    }

    fn compiled(fields: &str) -> MessageDescriptor {
        let proto = format!(
            "syntax = \"proto2\"; package t; import \"google/protobuf/wrappers.proto\";
             message T {{ {fields} }} enum E {{ A = 0; }}"
        );
        crate::routing::testing::compile(&proto).message("t.T").unwrap()
    }

    fn unfilled_fields(fields: &str) -> Vec<String> {
        unfilled(&compiled(fields)).into_iter().map(|unfilled| unfilled.field).collect()
    }

    #[test]
    fn fields_that_stay_empty_are_known() {
        let fields =
            "optional int64 userId = 1; optional bool token = 2; optional bytes deviceId = 3;
             repeated string platform = 4; optional E language = 5; optional T packageId = 6;
             optional double appVersion = 7; optional int32 ip = 8; optional uint64 session_id = 9;
             optional google.protobuf.BoolValue networkUsed = 10; optional int32 req_id = 11;
             optional google.protobuf.StringValue userAgent = 12; optional bool other = 13;";
        let unfilled = unfilled_fields(fields);
        assert_eq!(
            unfilled,
            [
                "token",
                "deviceId",
                "platform",
                "packageId",
                "appVersion",
                "language",
                "networkUsed",
                "ip",
                "session_id"
            ]
        );
    }

    #[test]
    fn of_two_spellings_the_text_is_filled() {
        let fields =
            "optional int64 userId = 1; optional string user_id = 2 [json_name = \"uid\"];";
        assert_eq!(Layout::of(&compiled(fields)).encode(|_| "7"), [2 << 3 | 2, 1, b'7']);
        assert_eq!(unfilled_fields(fields), [""; 0]);
        let one = "optional bool userId = 1; optional int64 user_id = 2 [json_name = \"uid\"];";
        assert_eq!(Layout::of(&compiled(one)).encode(|_| "7"), [2 << 3, 7]);
        assert_eq!(unfilled_fields(one), [""; 0]);
    }

    #[test]
    fn the_id_of_a_request_may_be_a_number() {
        let layout = Layout::of(&compiled("optional int64 reqId = 1;"));
        for (id, expected) in [("7", &[1 << 3, 7][..]), ("07", &[]), ("r1", &[]), ("", &[])] {
            let (mut out, id) = (Vec::new(), layout.req_id(id));
            id.put(&mut out);
            assert_eq!((&*out, out.len()), (expected, id.len()));
        }
    }
}
