//! The messages inside binary frames: requests made from a template, answers
//! read where they lie.

use super::frames::{self, Kind};
use crate::proto::session::PushEvent;
use crate::protocol::seed::Cipher;
use crate::protocol::seed::cipher::sealed_len;
use crate::wire::{self, Malformed, Value};

/// Characters of a `reqId`: always as many, so that a request has one place for it.
const ID_LEN: usize = 12;

/// A `reqId` of this client's: the place that a request has among those in
/// flight, and how many have had that place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReqId {
    /// The place.
    pub slot: u16,
    /// How many there were before, modulo 2³².
    pub turn: u32,
}

impl ReqId {
    fn text(self) -> [u8; ID_LEN] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let number = u64::from(self.slot) << 32 | u64::from(self.turn);
        let mut text = [0; ID_LEN];
        for (nth, character) in text.iter_mut().rev().enumerate() {
            *character = DIGITS[(number >> (4 * nth) & 0xf) as usize];
        }
        text
    }

    /// Parses an id made by this client; `None` for any other.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; ID_LEN] = text.try_into().ok()?;
        let mut number = 0u64;
        for character in text {
            let digit = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'f' => character - b'a' + 10,
                _ => return None,
            };
            number = number << 4 | u64::from(digit);
        }
        let slot = u16::try_from(number >> 32).ok()?;
        Some(Self { slot, turn: u32::try_from(number & u64::from(u32::MAX)).ok()? })
    }
}

/// A request that is sent again and again, with another `reqId` each time.
#[derive(Debug, Clone)]
pub struct Template {
    /// The serialized `RequestBody`.
    body: Vec<u8>,
    /// Where the `reqId` is in it.
    id_at: usize,
}

impl Template {
    /// A request of a method with its serialized message.
    pub fn new(method: &str, data: &[u8]) -> Self {
        let mut body = Vec::with_capacity(ID_LEN + method.len() + data.len() + 24);
        wire::put_len(&mut body, 1, &[b'0'; ID_LEN]);
        let id_at = body.len() - ID_LEN;
        wire::put_len(&mut body, 2, method.as_bytes());
        if !data.is_empty() {
            wire::put_len(&mut body, 3, data);
        }
        Self { body, id_at }
    }

    /// Bytes of the serialized `RequestBody`, before encryption.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Never: a `RequestBody` has a `reqId` at least.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Appends the request as a frame. Allocates nothing where `out` has room.
    pub fn put(&self, out: &mut Vec<u8>, id: ReqId, cipher: Option<&Cipher>) {
        let len = self.body.len();
        let payload_len = if cipher.is_some() { sealed_len(len) } else { len };
        let key = mask_key(id);
        frames::put_header(out, Kind::Binary, payload_len, key);
        let start = out.len();
        out.extend_from_slice(&self.body);
        out.resize(start + payload_len, 0);
        let payload = out.get_mut(start..).unwrap_or_default();
        if let Some(place) = payload.get_mut(self.id_at..self.id_at + ID_LEN) {
            place.copy_from_slice(&id.text());
        }
        if let Some(cipher) = cipher {
            cipher.seal_in_place(payload, len);
        }
        frames::mask(payload, key);
    }
}

/// A masking key that differs from frame to frame. It need not be hard to
/// guess: that protects proxies from scripts in browsers, and there is none here.
fn mask_key(id: ReqId) -> [u8; 4] {
    let mixed = (id.turn ^ u32::from(id.slot) << 16).wrapping_mul(0x9e37_79b1);
    (mixed ^ mixed >> 15).to_ne_bytes()
}

/// A `PushBody`, read where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The answer to a request.
    Answer {
        /// The request's, as it was sent.
        req_id: &'a [u8],
        /// How it went.
        code: i32,
        /// The response message, or a `CommonResp`.
        data: &'a [u8],
    },
    /// Something that the gateway sent by itself.
    Push,
}

/// Reads a plain (decrypted) frame as a protobuf decoder would: absent fields
/// are empty, of a repeated field the last one counts, others are skipped.
pub fn read(frame: &[u8]) -> Result<Incoming<'_>, Malformed> {
    let (mut event, mut data): (_, &[u8]) = (0, &[]);
    for field in wire::fields(frame) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Varint(number)) => event = int32(number),
            (2, Value::Len(value)) => data = value,
            (1 | 2, _) => return Err(Malformed { offset: field.start }),
            _ => {}
        }
    }
    if event != PushEvent::PushResponseBody as i32 {
        return Ok(Incoming::Push);
    }
    answer(data)
}

fn answer(body: &[u8]) -> Result<Incoming<'_>, Malformed> {
    let (mut req_id, mut code, mut data): (&[u8], _, &[u8]) = (&[], 0, &[]);
    for field in wire::fields(body) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Len(value)) => req_id = value,
            (3, Value::Varint(number)) => code = int32(number),
            (4, Value::Len(value)) => data = value,
            (1 | 3 | 4, _) => return Err(Malformed { offset: field.start }),
            _ => {}
        }
    }
    Ok(Incoming::Answer { req_id, code, data })
}

/// An int32 or enum, of which only the low 32 bits count.
#[expect(clippy::cast_possible_truncation, reason = "as protobuf decoders do")]
const fn int32(number: u64) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::Code;
    use crate::protocol::seed::codec;

    fn unmasked(frame: &[u8], header: usize) -> Vec<u8> {
        let (key, payload) = frame[header..].split_first_chunk().unwrap();
        let mut payload = payload.to_vec();
        frames::mask(&mut payload, *key);
        payload
    }

    const ID: ReqId = ReqId { slot: 517, turn: 0xfedc_ba98 };

    #[test]
    fn a_req_id_is_read_as_it_was_written() {
        for id in [ID, ReqId { slot: 0, turn: 0 }, ReqId { slot: u16::MAX, turn: u32::MAX }] {
            assert_eq!(ReqId::parse(&id.text()), Some(id));
        }
        for other in ["", "1", "00000000000g", "0000000000001", "00000000000A"] {
            assert_eq!(ReqId::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_gateway_reads_requests_of_a_template() {
        let template = Template::new("/v1/x", b"\x0a\x01a");
        let mut out = Vec::new();
        template.put(&mut out, ID, None);
        assert_eq!(usize::from(out[1] & 0x7f), template.len());
        let request = codec::open(&Bytes::from(unmasked(&out, 2))).unwrap();
        assert_eq!(request.req_id.as_bytes()[..], ID.text());
        assert_eq!((&*request.method, &*request.data), ("/v1/x", &b"\x0a\x01a"[..]));
    }

    #[test]
    fn the_gateway_decrypts_requests_of_a_template() {
        let cipher = Cipher::derive(b"key", b"iv");
        for len in [0, 1, 5, 16, 200] {
            let data = vec![b'd'; len];
            let mut out = b"before".to_vec();
            Template::new("/v1/x", &data).put(&mut out, ID, Some(&cipher));
            let header = if out.len() > 6 + 125 { 4 } else { 2 };
            let sealed = Bytes::from(unmasked(&out[6..], header));
            let request = codec::open(&cipher.open(sealed).unwrap()).unwrap();
            assert_eq!(request.req_id.as_bytes()[..], ID.text());
            assert_eq!(request.data, data);
        }
    }

    #[test]
    fn masking_keys_differ_from_request_to_request() {
        let keys = (0..100).map(|turn| mask_key(ReqId { slot: 1, turn }));
        let different: std::collections::BTreeSet<_> = keys.collect();
        assert_eq!(different.len(), 100);
    }

    #[test]
    fn answers_are_read_as_the_gateway_writes_them() {
        for (code, data) in
            [(Code::SUCCESS, &b"\x08\x01"[..]), (Code::new(-7), b""), (Code::new(1042), b"x")]
        {
            let frame = codec::answer("abc", "/v1/x", code, data);
            let expected = Incoming::Answer { req_id: b"abc", code: code.number(), data };
            assert_eq!(read(&frame), Ok(expected));
        }
        assert_eq!(read(&codec::push(0, b"\xff\xff")), Ok(Incoming::Push));
        assert_eq!(read(&codec::push(1000, b"")), Ok(Incoming::Push));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(read(b"connected").is_err());
        assert!(read(&codec::push(PushEvent::PushResponseBody as i32, b"\x0a\x05x")).is_err());
        // reqId as a varint
        assert!(read(&codec::push(PushEvent::PushResponseBody as i32, b"\x08\x05")).is_err());
    }
}
