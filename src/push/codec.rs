//! Reads requests, and refuses requests with unknown fields.
//!
//! Decoders of protobuf skip unknown fields. Here that would do harm: a
//! condition of a target that a newer backend sets and an older gateway skips
//! would send an event to more clients than were meant.

use std::marker::PhantomData;
use std::sync::LazyLock;

use bytes::Buf;
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::receipt::PushReceipt;
use crate::proto::push::{
    FILE_DESCRIPTOR_SET, KickRequest, ListSessionsRequest, PushRequest, WatchSessionsRequest,
};
use crate::wire::{self, Value};

/// Encodes any [`Answer`]; decodes messages with known fields only.
#[derive(Debug, Clone)]
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

/// The encoder of [`StrictCodec`].
#[derive(Debug, Clone)]
pub struct AnswerEncoder<T>(PhantomData<T>);

/// The decoder of [`StrictCodec`].
#[derive(Debug, Clone)]
pub struct StrictDecoder<U>(PhantomData<U>);

/// A response message of the Push API.
pub trait Answer: Send + 'static {
    /// Appends the message.
    fn encode(&self, out: &mut EncodeBuf<'_>);
}

impl<T: Message + 'static> Answer for T {
    fn encode(&self, out: &mut EncodeBuf<'_>) {
        self.encode_raw(out);
    }
}

impl Answer for PushReceipt {
    fn encode(&self, out: &mut EncodeBuf<'_>) {
        PushReceipt::encode(self, out);
    }
}

/// A request message of the Push API. All its fields are checked.
pub trait Request: Message + Default + Send + 'static {
    /// Its name within the package.
    const NAME: &'static str;
}

impl Request for PushRequest {
    const NAME: &'static str = "PushRequest";
}

impl Request for KickRequest {
    const NAME: &'static str = "KickRequest";
}

impl Request for ListSessionsRequest {
    const NAME: &'static str = "ListSessionsRequest";
}

impl Request for WatchSessionsRequest {
    const NAME: &'static str = "WatchSessionsRequest";
}

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Answer, U: Request> Codec for StrictCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = AnswerEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        AnswerEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(PhantomData)
    }
}

impl<T: Answer> Encoder for AnswerEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // Receipts are small: tonic's own default of 8 KiB a call is not needed.
        BufferSettings::new(512, 8 * 1024)
    }
}

impl<U: Request> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Shares the bytes that came; `data` is a slice of them.
        decode(src.copy_to_bytes(src.remaining())).map(Some)
    }
}

fn decode<U: Request>(bytes: bytes::Bytes) -> Result<U, Status> {
    let name = U::NAME;
    let wrong = |what: String| Status::invalid_argument(format!("{name}: {what}"));
    let unknown = match DESCRIPTORS.get_message_by_name(&format!("bridgehead.push.v1.{name}")) {
        Some(descriptor) => unknown_field(&descriptor, &bytes).map_err(|e| wrong(e.to_string()))?,
        None => None,
    };
    if let Some(path) = unknown {
        return Err(wrong(format!("this gateway does not know the field {path}")));
    }
    U::decode(bytes).map_err(|error| wrong(error.to_string()))
}

/// The path of the first unknown field: `target.7`.
fn unknown_field(
    message: &MessageDescriptor,
    bytes: &[u8],
) -> Result<Option<String>, wire::Malformed> {
    for field in wire::fields(bytes) {
        let field = field?;
        let Some(known) = message.get_field(field.number) else {
            return Ok(Some(field.number.to_string()));
        };
        if let (Some(inner), Value::Len(value)) = (known.kind().as_message(), field.value)
            && let Some(path) = unknown_field(inner, value)?
        {
            return Ok(Some(format!("{}.{path}", known.name())));
        }
    }
    Ok(None)
}

/// The descriptors that were compiled in; empty only if they were invalid.
static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::push::Target;

    fn encoded(request: &PushRequest, more: &[u8]) -> bytes::Bytes {
        [&request.encode_to_vec(), more].concat().into()
    }

    #[test]
    fn a_request_of_known_fields_is_read() {
        let request = PushRequest {
            push_id: "1".into(),
            target: Some(Target { everyone: true, ..Target::default() }),
            data: "hello".into(),
            deadline: Some(prost_types::Duration { seconds: 1, nanos: 2 }),
            ..PushRequest::default()
        };
        assert_eq!(decode::<PushRequest>(encoded(&request, b"")).unwrap(), request);
    }

    #[test]
    fn unknown_fields_are_refused_by_their_path() {
        for (more, path) in [(&b"\x48\x01"[..], "field 9"), (b"\x12\x02\x38\x01", "target.7")] {
            let status = decode::<PushRequest>(encoded(&PushRequest::default(), more)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().ends_with(path), "{}", status.message());
        }
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in [&b"\xff"[..], b"\x12\x05\x08", b"\x0a\x01\xff"] {
            let status = decode::<PushRequest>(bytes::Bytes::from_static(bytes)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{bytes:x?}");
        }
    }

    #[test]
    fn every_request_has_its_descriptor() {
        for name in [
            PushRequest::NAME,
            KickRequest::NAME,
            ListSessionsRequest::NAME,
            WatchSessionsRequest::NAME,
        ] {
            assert!(
                DESCRIPTORS.get_message_by_name(&format!("bridgehead.push.v1.{name}")).is_some()
            );
        }
    }
}
