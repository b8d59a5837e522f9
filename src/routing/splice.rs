//! The identity splice: one field of a message replaced on the wire format.
//!
//! The message is not decoded. Its top-level fields are walked, those with the
//! identity's number dropped, and one is appended; all other bytes survive as
//! they came, unknown fields included. The same walk proves that the message is
//! well-formed at the top level.

use bytes::{BufMut, Bytes, BytesMut};

use super::identity::Slot;
use crate::wire::{self, Malformed};

/// Why a message is not spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// It is no protobuf.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Decoders would not agree on where its fields are; see [`super::shape`].
    #[error("field {number} at byte {offset} has another wire type than the descriptor says")]
    WireType {
        /// The field's number.
        number: u32,
        /// Where in the message the field begins, about.
        offset: usize,
    },
    /// Messages within messages, deeper than decoders follow.
    #[error("messages nest deeper than {0} levels")]
    TooDeep(usize),
    /// So many places for the identity that the message would grow out of all
    /// proportion.
    #[error("the caller's identity has so many places that it would add more than {0} bytes")]
    TooLarge(usize),
}

/// Checks that `message` is well-formed at the top level; changes nothing.
pub fn check(message: &[u8]) -> Result<(), Malformed> {
    wire::fields(message).try_for_each(|field| field.map(drop))
}

/// Replaces the field of `slot` by one that holds `of_session`, which
/// [`Layout::encode`] made, and the request's id where the layout has it.
///
/// [`Layout::encode`]: super::identity::Layout::encode
pub fn splice(
    message: &[u8],
    slot: &Slot,
    of_session: &[u8],
    req_id: &str,
) -> Result<Bytes, SpliceError> {
    let req_id = slot.layout.req_id(req_id);
    let len = of_session.len() + req_id.len();
    let mut out =
        BytesMut::with_capacity(message.len() + wire::len_prefix_len(slot.number, len) + len);

    // Runs of fields that stay are copied as one.
    let mut kept = 0;
    for field in wire::fields(message) {
        let field = field?;
        if field.number == slot.number {
            out.put_slice(message.get(kept..field.start).unwrap_or_default());
            kept = field.end;
        } else if !slot.shape.fits(&field) {
            return Err(SpliceError::WireType { number: field.number, offset: field.start });
        }
    }
    out.put_slice(message.get(kept..).unwrap_or_default());

    wire::put_len_prefix(&mut out, slot.number, len);
    out.put_slice(of_session);
    req_id.put(&mut out);
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::{CommonReq, FILE_DESCRIPTOR_SET, LoginReq};
    use crate::routing::{Descriptors, identity::Layout, shape::Shape};
    use prost::Message as _;
    use std::sync::Arc;

    fn slot() -> Slot {
        let demo = Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap();
        let message = |name| demo.message(name).unwrap();
        let layout = Arc::new(Layout::of(&message("pb.CommonReq")));
        Slot { number: 1, layout, shape: Shape::of(&message("pb.LoginReq")) }
    }

    #[test]
    fn what_the_client_put_there_is_dropped() {
        let forged = CommonReq { user_id: "admin".into(), data: vec![1, 2], ..Default::default() };
        let request =
            LoginReq { common_req: Some(forged), id: "alice".into(), password: "secret".into() };
        let identity = CommonReq { user_id: "u1".into(), ..Default::default() };
        // Twice, as a client may: the second would be merged into the first.
        let twice = [request.encode_to_vec(), request.encode_to_vec()].concat();
        let spliced = splice(&twice, &slot(), &identity.encode_to_vec(), "r1").unwrap();
        let seen = LoginReq::decode(spliced).unwrap();
        assert_eq!(seen, LoginReq { common_req: Some(identity), ..request });
    }

    #[test]
    fn a_forgery_of_another_wire_type_is_dropped_too() {
        let message = [0x08, 0x07, 0x12, 0x01, b'x']; // field 1 as a varint, field 2 "x"
        let spliced = splice(&message, &slot(), b"", "").unwrap();
        assert_eq!(&*spliced, [0x12, 0x01, b'x', 0x0a, 0x00]);
    }

    #[test]
    fn another_field_of_another_wire_type_is_refused() {
        let message = [0x1a, 0x00, 0x10, 0x07]; // field 3 "", field 2 as a varint
        let error = splice(&message, &slot(), b"", "").unwrap_err();
        assert_eq!(error, SpliceError::WireType { number: 2, offset: 2 });
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert!(splice(&[0x0a, 0x05, 1], &slot(), b"", "").is_err());
        assert!(check(&[0x0a, 0x05, 1]).is_err());
        assert!(check(&[]).is_ok());
    }
}
