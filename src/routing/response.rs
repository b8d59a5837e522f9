//! A response's own verdict: the code in its `commonResp`.

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
    /// The type of that field.
    code_type: CodeType,
}

/// The types that a verdict's code may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeType {
    /// `int32` or an enum.
    I32,
    /// `int64`.
    I64,
    /// `uint32`.
    U32,
    /// `uint64`.
    U64,
}

impl VerdictField {
    /// The place, if the response has a singular message field of this name
    /// whose message has an integer or enum `code`.
    pub(super) fn of(output: &MessageDescriptor, name: &str) -> Option<Self> {
        let field = super::field::field_named(output, name).filter(|field| !field.is_list())?;
        let Kind::Message(message) = field.kind() else { return None };
        let code = message.get_field_by_name("code").filter(|code| !code.is_list())?;
        let code_type = match code.kind() {
            Kind::Enum(_) | Kind::Int32 => CodeType::I32,
            Kind::Int64 => CodeType::I64,
            Kind::Uint32 => CodeType::U32,
            Kind::Uint64 => CodeType::U64,
            _ => return None,
        };
        Some(Self { number: field.number(), code: code.number(), code_type })
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
                code = self.code_type.read(value);
            }
        }
        (code != 0).then_some((code, verdict))
    }
}

impl CodeType {
    /// The value of a varint. All types are 64 bits on the wire; those of 32
    /// are cut by every decoder. A code that is no `i32` is the nearest one:
    /// cut, it might turn out as 0, and a failure pass for a success.
    #[expect(clippy::cast_possible_truncation, reason = "protobuf says so")]
    fn read(self, varint: u64) -> i32 {
        match self {
            Self::I32 => varint as i32,
            Self::I64 => {
                let code = varint.cast_signed();
                code.clamp(i32::MIN.into(), i32::MAX.into()) as i32
            }
            Self::U32 => i32::try_from(varint as u32).unwrap_or(i32::MAX),
            Self::U64 => i32::try_from(varint).unwrap_or(i32::MAX),
        }
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
        VerdictField::of(&demo.message(message).unwrap(), "commonResp")
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
    fn a_code_that_is_no_i32_is_the_nearest_one() {
        let two_to_the_32 = 1u64 << 32;
        assert_eq!(CodeType::I32.read(two_to_the_32 + 5), 5);
        assert_eq!(CodeType::U32.read(two_to_the_32 - 1), i32::MAX);
        assert_eq!(CodeType::U64.read(two_to_the_32), i32::MAX);
        assert_eq!(CodeType::I64.read(two_to_the_32), i32::MAX);
        assert_eq!(CodeType::I64.read((-two_to_the_32.cast_signed()).cast_unsigned()), i32::MIN);
        assert_eq!(CodeType::I64.read((-7i64).cast_unsigned()), -7);
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
