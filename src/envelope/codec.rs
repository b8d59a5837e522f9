//! Reads what clients send, writes what they are sent.
//!
//! Both directions stay on the wire format: a request's fields are slices of
//! its frame, and an answer is written into one buffer, with the lengths of
//! its two nested messages computed ahead. Encryption is not done here, but
//! buffers leave with the room that [`Cipher::seal`] needs for its padding.
//!
//! [`Cipher::seal`]: super::cipher::Cipher::seal

use bytes::{Bytes, BytesMut};

use super::cipher::sealed_len;
use super::code::Code;
use crate::proto::session::PushEvent;
use crate::wire::{self, Value};

/// UTF-8 text that shares its frame's bytes: a clone copies nothing.
pub use bytestring::ByteString as Text;

/// A client's request: one `RequestBody`, as slices of the frame it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, returned as it came.
    pub req_id: Text,
    /// Looks like an HTTP path: `/v1/msg/sendMsgList`.
    pub method: Text,
    /// The serialized request message of that method, not looked at.
    pub data: Bytes,
}

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
/// Accepts what a protobuf decoder accepts: absent fields are empty, of a
/// repeated field the last one counts, unknown fields are skipped. An empty
/// frame is an empty request.
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

/// Writes the `CommonResp` that tells a client why its request failed.
///
/// What `msg` means depends on the code; `None` leaves the field out, which
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

// What follows writes fields as proto3 does: none for a default value.

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
