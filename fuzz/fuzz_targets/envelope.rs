//! The envelope on anything a client may send.
//!
//! - A frame is read as prost reads it, or refused as prost refuses it.
//! - A frame that is no ciphertext is refused, without a panic.
//! - Opening a sealed frame gives the same bytes; an answer is encoded as by prost.

#![no_main]

use std::sync::LazyLock;

use bridgehead::proto::session::{PushBody, RequestBody, ResponseBody};
use bridgehead::protocol::seed::{Cipher, codec};
use bridgehead::protocol::{Code, Request};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use prost::Message;

static CIPHER: LazyLock<Cipher> =
    LazyLock::new(|| Cipher::derive(b"bridgehead-key-seed", b"bridgehead-iv-seed"));

fuzz_target!(|frame: &[u8]| {
    let opened = codec::open(&Bytes::copy_from_slice(frame)).ok();
    assert_eq!(opened, decode_with_prost(frame));

    let _ = CIPHER.open(Bytes::copy_from_slice(frame));

    let sealed = CIPHER.seal(BytesMut::from(frame));
    assert_eq!(CIPHER.open(sealed.clone()).as_deref(), Ok(frame));
    assert_eq!(CIPHER.open(sealed).as_deref(), Ok(frame));

    if let Some(request) = opened {
        let code = frame.first().map_or(0, |byte| i32::from(byte.cast_signed()));
        let answer =
            codec::answer(&request.req_id, &request.method, Code::new(code), &request.data);
        assert_eq!(answer, encode_with_prost(&request, code));
    }
});

fn decode_with_prost(frame: &[u8]) -> Option<Request> {
    let body = RequestBody::decode(frame).ok()?;
    Some(Request { req_id: body.req_id.into(), method: body.method.into(), data: body.data })
}

fn encode_with_prost(request: &Request, code: i32) -> Vec<u8> {
    let body = ResponseBody {
        req_id: request.req_id.to_string(),
        method: request.method.to_string(),
        code,
        data: request.data.clone(),
    };
    PushBody { event: 2, data: body.encode_to_vec().into() }.encode_to_vec()
}
