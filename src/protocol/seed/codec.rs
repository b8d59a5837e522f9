//! Reads the clients' messages, writes replies and pushes.
//!
//! Both directions stay on the wire format: a request's fields are slices of
//! its frame, and an answer is written into one buffer, with the lengths of
//! its two nested messages computed ahead. Encryption is not done here, but
//! buffers leave with the room that [`Cipher::seal`] needs for its padding.
//!
//! [`Cipher::seal`]: super::cipher::Cipher::seal

use bytes::{Bytes, BytesMut};

use super::cipher::sealed_len;
use crate::proto::session::PushEvent;
use crate::protocol::{Code, Request, Text};
use crate::wire::{self, Value};

/// A frame that is no `RequestBody`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// The frame is no sequence of protobuf fields.
    #[error("the frame is {0}")]
    Malformed(#[from] wire::Malformed),
    /// A field of `RequestBody` is something else than a string or bytes.
    #[error("RequestBody.{field} is not length-delimited")]
    WrongType {
        /// The field's name.
        field: &'static str,
    },
    /// A string field of `RequestBody` does not hold UTF-8.
    #[error("RequestBody.{field} is not UTF-8")]
    NotUtf8 {
        /// The field's name.
        field: &'static str,
    },
}

/// Reads a plain (decrypted) frame as a `RequestBody`.
///
/// Accepts the same input as a protobuf decoder: absent fields are empty, of a
/// repeated field the last one counts, unknown fields are skipped. An empty frame
/// is an empty request.
pub fn open(frame: &Bytes) -> Result<Request, NotARequest> {
    let mut request = Request::default();
    for field in wire::fields(frame) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Len(value)) => request.req_id = text(frame, value, "reqId")?,
            (2, Value::Len(value)) => request.method = text(frame, value, "method")?,
            (3, Value::Len(value)) => request.data = frame.slice_ref(value),
            (1, _) => return Err(NotARequest::WrongType { field: "reqId" }),
            (2, _) => return Err(NotARequest::WrongType { field: "method" }),
            (3, _) => return Err(NotARequest::WrongType { field: "data" }),
            _ => {}
        }
    }
    Ok(request)
}

/// `value`, which lies within `frame`, as text.
fn text(frame: &Bytes, value: &[u8], field: &'static str) -> Result<Text, NotARequest> {
    Text::try_from(frame.slice_ref(value)).map_err(|_| NotARequest::NotUtf8 { field })
}

/// Writes the frame that answers a request: a `PushBody` around a `ResponseBody`.
///
/// `data` is the method's response message when `code` is [`Code::SUCCESS`],
/// else a serialized `CommonResp`: the service's own or a [`refusal`].
pub fn answer(req_id: &str, method: &str, code: Code, data: &[u8]) -> BytesMut {
    let len = len_field_len(1, req_id.len())
        + len_field_len(2, method.len())
        + int32_field_len(3, code.number())
        + len_field_len(4, data.len());
    let mut frame = push_body(PushEvent::PushResponseBody as i32, len);
    put_len_field(&mut frame, 1, req_id.as_bytes());
    put_len_field(&mut frame, 2, method.as_bytes());
    put_int32_field(&mut frame, 3, code.number());
    put_len_field(&mut frame, 4, data);
    frame
}

/// Writes the frame of a push: a `PushBody` with any event and any data.
pub fn push(event: i32, data: &[u8]) -> BytesMut {
    let mut frame = push_body(event, data.len());
    frame.extend_from_slice(data);
    frame
}

/// Writes the `CommonResp` with the reason why a request failed.
///
/// The meaning of `msg` depends on the code; `None` leaves the field out, which
/// is not the same to a client as an empty text.
pub fn refusal(code: Code, msg: Option<&str>) -> Vec<u8> {
    let mut common_resp = Vec::with_capacity(12 + msg.map_or(0, str::len));
    put_int32_field(&mut common_resp, 1, code.number());
    if let Some(msg) = msg {
        wire::put_len(&mut common_resp, 2, msg.as_bytes());
    }
    common_resp
}

/// A `PushBody` up to its data, of which `len` bytes are still to be appended:
/// the buffer has room for them, and for their padding.
fn push_body(event: i32, len: usize) -> BytesMut {
    let frame_len = int32_field_len(1, event) + len_field_len(2, len);
    let mut frame = BytesMut::with_capacity(sealed_len(frame_len));
    put_int32_field(&mut frame, 1, event);
    if len > 0 {
        wire::put_len_prefix(&mut frame, 2, len);
    }
    frame
}

// The functions below write fields as proto3 does: none for a default value.

fn len_field_len(number: u32, len: usize) -> usize {
    if len == 0 { 0 } else { wire::len_prefix_len(number, len) + len }
}

fn put_len_field(out: &mut BytesMut, number: u32, value: &[u8]) {
    if !value.is_empty() {
        wire::put_len(out, number, value);
    }
}

fn int32_field_len(number: u32, value: i32) -> usize {
    if value == 0 {
        return 0;
    }
    wire::varint_len(u64::from(number) << 3) + wire::varint_len(sign_extended(value))
}

fn put_int32_field(out: &mut impl bytes::BufMut, number: u32, value: i32) {
    if value != 0 {
        wire::put_varint_field(out, number, sign_extended(value));
    }
}

/// A negative int32 or enum travels as the 64-bit number of the same value.
fn sign_extended(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto::session::{CommonResp, PushBody, RequestBody, ResponseBody};

    fn opened(frame: &[u8]) -> Result<Request, NotARequest> {
        open(&Bytes::copy_from_slice(frame))
    }

    /// The request that prost decodes from the same bytes, if any.
    fn decoded(frame: &[u8]) -> Option<Request> {
        let body = RequestBody::decode(frame).ok()?;
        Some(Request { req_id: body.req_id.into(), method: body.method.into(), data: body.data })
    }

    #[test]
    fn a_request_is_read_as_slices_of_its_frame() {
        let body = RequestBody {
            req_id: "42".into(),
            method: "/v1/msg/sendMsgList".into(),
            data: Bytes::from_static(b"\x0a\x02hi"),
        };
        let frame = Bytes::from(body.encode_to_vec());
        let request = open(&frame).unwrap();
        assert_eq!(&*request.req_id, "42");
        assert_eq!(&*request.method, "/v1/msg/sendMsgList");
        assert_eq!(request.data, body.data);
        for part in [request.req_id.as_bytes(), request.method.as_bytes(), &request.data] {
            assert!(frame.as_ptr_range().contains(&part.as_ptr()));
        }
    }

    #[test]
    fn an_empty_frame_is_an_empty_request() {
        assert_eq!(opened(b""), Ok(Request::default()));
    }

    #[test]
    fn the_last_of_a_repeated_field_counts_and_unknown_fields_are_skipped() {
        let frame = b"\x0a\x01a\x1a\x01x\x0a\x01b\x20\x07\x53\x08\x01\x54\x1a\x00";
        let request = opened(frame).unwrap();
        assert_eq!((&*request.req_id, &*request.data), ("b", &b""[..]));
        assert_eq!(Some(request), decoded(frame));
    }

    #[test]
    fn a_frame_that_is_no_request_says_why() {
        use NotARequest::{Malformed, NotUtf8, WrongType};
        for (frame, error) in [
            (&b"\x0a\x01a\x12\x05/v1"[..], Malformed(wire::Malformed { offset: 3 })),
            (b"connected", Malformed(wire::Malformed { offset: 0 })),
            (b"\x08\x01", WrongType { field: "reqId" }),
            (b"\x13\x14", WrongType { field: "method" }),
            (b"\x1d\x01\x02\x03\x04", WrongType { field: "data" }),
            (b"\x0a\x01\xff", NotUtf8 { field: "reqId" }),
            // Bad even though a good one follows, as for other decoders.
            (b"\x12\x01\xff\x12\x01a", NotUtf8 { field: "method" }),
        ] {
            assert_eq!(opened(frame), Err(error), "{frame:x?}");
            assert_eq!(decoded(frame), None, "{frame:x?}");
        }
    }

    #[test]
    fn an_absent_msg_differs_from_an_empty_one() {
        let absent = refusal(Code::REQUEST_ERROR, None);
        let empty = refusal(Code::REQUEST_ERROR, Some(""));
        assert_eq!(CommonResp::decode(&*absent).unwrap().msg, None);
        assert_eq!(CommonResp::decode(&*empty).unwrap().msg.as_deref(), Some(""));
    }

    #[test]
    fn a_code_without_a_name_travels_as_it_is() {
        for number in [6, 1042, -1, i32::MIN, i32::MAX] {
            let frame = answer("1", "/m", Code::new(number), b"");
            let push = PushBody::decode(frame).unwrap();
            assert_eq!(ResponseBody::decode(push.data).unwrap().code, number);
        }
    }

    #[test]
    fn groups_nest_as_deep_as_prost_lets_them() {
        for depth in 98..103 {
            for inner in [&b""[..], b"\x08\x01", b"\x7b\x7c"] {
                let frame = [&vec![0x7b; depth][..], inner, &vec![0x7c; depth]].concat();
                assert_eq!(
                    opened(&frame).ok(),
                    decoded(&frame),
                    "{depth} groups around {inner:x?}"
                );
            }
        }
    }

    /// Encodings of fields that a `RequestBody` may or may not have.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            "[a-z/]{0,20}".prop_map(String::into_bytes),
            "\\PC{0,5}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        (1u32..6, 0u8..7, value, any::<u64>()).prop_map(|(number, kind, value, varint)| {
            let mut out = Vec::new();
            match kind {
                0 => wire::put_varint_field(&mut out, number, varint),
                1 => {
                    wire::put_varint(&mut out, u64::from(number) << 3 | 1);
                    out.extend(varint.to_le_bytes());
                }
                2 => {
                    wire::put_varint(&mut out, u64::from(number) << 3 | 3);
                    wire::put_len(&mut out, 1, &value);
                    wire::put_varint(&mut out, u64::from(number) << 3 | 4);
                }
                _ => wire::put_len(&mut out, number, &value),
            }
            out
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_prost_reads_them(
            frame in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            prop_assert_eq!(opened(&frame).ok(), decoded(&frame));
        }

        #[test]
        fn any_fields_are_read_as_prost_reads_them(
            fields in prop::collection::vec(field(), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut frame = fields.concat();
            prop_assert_eq!(opened(&frame).ok(), decoded(&frame));
            frame.truncate(cut.index(frame.len() + 1));
            prop_assert_eq!(opened(&frame).ok(), decoded(&frame));
        }

        #[test]
        fn an_answer_is_what_prost_encodes(
            req_id in "\\PC{0,40}",
            method in "\\PC{0,40}",
            code in prop_oneof![0..10, any::<i32>()],
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let frame = answer(&req_id, &method, Code::new(code), &data);
            let body = ResponseBody { req_id, method, code, data: data.into() };
            let push = PushBody { event: 2, data: body.encode_to_vec().into() };
            prop_assert_eq!(&frame[..], push.encode_to_vec());
            prop_assert!(frame.capacity() >= sealed_len(frame.len()));
        }

        #[test]
        fn a_push_is_what_prost_encodes(
            event in prop_oneof![0..3, any::<i32>()],
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let frame = push(event, &data);
            prop_assert_eq!(&frame[..], PushBody { event, data: data.into() }.encode_to_vec());
            prop_assert!(frame.capacity() >= sealed_len(frame.len()));
        }

        #[test]
        fn a_refusal_is_what_prost_encodes(
            code in prop_oneof![0..10, any::<i32>()],
            msg in prop::option::of("\\PC{0,40}"),
        ) {
            let written = refusal(Code::new(code), msg.as_deref());
            let common_resp = CommonResp { code, msg, data: Bytes::new() };
            prop_assert_eq!(written, common_resp.encode_to_vec());
        }
    }
}
