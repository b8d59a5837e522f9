//! What a response says of itself: the code in its `commonResp`.

use std::borrow::Cow;

use prost_reflect::{Kind, MessageDescriptor};

use crate::wire::{self, Value};

/// Where a response message keeps its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VerdictField {
    /// The field of the response message.
    number: u32,
    /// The field `code` of that field's message.
    code: u32,
}

impl VerdictField {
    /// The place, if the response has a singular message field of this name
    /// whose message has an integer or enum `code`.
    pub(super) fn of(output: &MessageDescriptor, name: &str) -> Option<Self> {
        let field = super::builder::field_named(output, name).filter(|field| !field.is_list())?;
        let Kind::Message(message) = field.kind() else { return None };
        let code = message.get_field_by_name("code").filter(|code| !code.is_list())?;
        let is_number = matches!(
            code.kind(),
            Kind::Enum(_) | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64
        );
        is_number.then(|| Self { number: field.number(), code: code.number() })
    }

    /// The code, if it is not 0, and the verdict's bytes. `None` as well for a
    /// response that is not well-formed: judging services is not the
    /// gateway's business, and the client will see for itself.
    pub(super) fn read<'r>(self, response: &'r [u8]) -> Option<(i32, Cow<'r, [u8]>)> {
        let mut verdict: Option<Cow<'r, [u8]>> = None;
        for field in wire::fields(response) {
            let field = field.ok()?;
            if field.number != self.number {
                continue;
            }
            let Value::Len(bytes) = field.value else { return None };
            // Several occurrences are one message in pieces.
            verdict = Some(match verdict {
                None => Cow::Borrowed(bytes),
                Some(before) => Cow::Owned([&*before, bytes].concat()),
            });
        }
        let verdict = verdict?;
        let mut code = 0;
        for field in wire::fields(&verdict) {
            let field = field.ok()?;
            if field.number == self.code
                && let Value::Varint(value) = field.value
            {
                // Enums and int32 are 64 bits on the wire, cut to 32 by every decoder.
                #[expect(clippy::cast_possible_truncation, reason = "protobuf says so")]
                {
                    code = value as i32;
                }
            }
        }
        (code != 0).then_some((code, verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::{CommonResp, FILE_DESCRIPTOR_SET, GetFriendListResp};
    use crate::routing::Descriptors;
    use prost::Message as _;

    fn field(message: &str) -> Option<VerdictField> {
        let demo = Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap();
        VerdictField::of(&demo.pool().get_message_by_name(message).unwrap(), "commonResp")
    }

    fn response(code: i32, msg: &str) -> Vec<u8> {
        let common_resp = CommonResp { code, msg: Some(msg.into()), ..Default::default() };
        GetFriendListResp { common_resp: Some(common_resp), ids: vec!["a".into()] }.encode_to_vec()
    }

    #[test]
    fn a_code_that_is_not_zero_is_the_verdict() {
        let field = field("pb.GetFriendListResp").unwrap();
        let refused = response(5, "no");
        let (code, verdict) = field.read(&refused).unwrap();
        assert_eq!(code, 5);
        assert_eq!(CommonResp::decode(&*verdict).unwrap().msg(), "no");
        assert_eq!(field.read(&response(0, "fine")), None);
        assert_eq!(field.read(&[]), None);
        assert_eq!(field.read(&response(-7, "odd")).unwrap().0, -7);
    }

    #[test]
    fn a_verdict_in_pieces_is_put_together() {
        let field = field("pb.GetFriendListResp").unwrap();
        let pieces = [response(5, "first"), response(0, "second")].concat();
        let (code, verdict) = field.read(&pieces).unwrap();
        assert_eq!(code, 5, "proto3 does not write a zero, so the five stands");
        assert_eq!(CommonResp::decode(&*verdict).unwrap().msg(), "second");
    }

    #[test]
    fn a_response_without_the_field_or_beyond_reading_has_no_verdict() {
        assert_eq!(field("pb.Page"), None);
        let field = field("pb.GetFriendListResp").unwrap();
        assert_eq!(field.read(&[0x0a, 0xff]), None);
    }
}
