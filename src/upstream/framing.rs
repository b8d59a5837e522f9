//! gRPC's length-prefixed framing of one message, for a unary call.
//!
//! Own code rather than `tonic::client::Grpc`: this is the whole of it for
//! bytes that need no codec, and it saves each call a boxed body, a stream and
//! a copy. It also knows which side an error came from, which tonic's client
//! does not tell.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::io::Cursor;

use bytes::buf::Chain;
use bytes::{Buf, Bytes, BytesMut};

/// The largest response message taken from a service.
pub(super) const MAX_RESPONSE: usize = 16 * 1024 * 1024;

/// Flag and length in front of a message.
const PREFIX: usize = 5;

/// A request message behind its prefix; the message is not copied.
pub(super) type Payload = Chain<Cursor<[u8; PREFIX]>, Bytes>;

/// A request message too long for its length field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request message of {0} bytes exceeds gRPC's 4 GiB")]
pub(super) struct TooLong(usize);

/// Frames a request message, uncompressed.
pub(super) fn frame(message: Bytes) -> Result<Payload, TooLong> {
    let length = u32::try_from(message.len()).map_err(|_| TooLong(message.len()))?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok(Cursor::new([0, a, b, c, d]).chain(message))
}

/// A response body that is not the one message it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("the response is compressed, which was not asked for")]
    Compressed,
    #[error("the response has {0} bytes, more than the limit of {MAX_RESPONSE}")]
    TooLarge(usize),
    #[error("the response ends after {got} of {expected} bytes")]
    Truncated { got: usize, expected: usize },
    #[error("the response holds more than one message")]
    Several,
    #[error("the response holds no message")]
    None,
}

/// Puts one message together from the chunks of a response body.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The body so far. The first chunk is kept as it came, and mostly it is
    /// all there is.
    first: Bytes,
    /// Copies, once there is more than one chunk.
    rest: BytesMut,
}

impl Assembly {
    /// Takes the next chunk.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), Violation> {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                let expected = length(&self.first)?.map_or(0, |length| length + PREFIX);
                self.rest.reserve(expected.max(self.first.len() + chunk.len()));
                self.rest.extend_from_slice(&self.first);
                self.first = Bytes::new();
            }
            self.rest.extend_from_slice(&chunk);
        }
        match length(self.body())? {
            Some(length) if self.body().len() > length + PREFIX => Err(Violation::Several),
            _ => Ok(()),
        }
    }

    /// The message, now that the body has ended.
    pub(super) fn finish(self) -> Result<Bytes, Violation> {
        let body = self.body();
        if body.is_empty() {
            return Err(Violation::None);
        }
        let expected = length(body)?.unwrap_or(0) + PREFIX;
        if body.len() < expected {
            return Err(Violation::Truncated { got: body.len(), expected });
        }
        let mut body = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        body.advance(PREFIX);
        Ok(body)
    }

    fn body(&self) -> &[u8] {
        if self.rest.is_empty() { &self.first } else { &self.rest }
    }
}

/// The message's length, once its prefix is there.
fn length(body: &[u8]) -> Result<Option<usize>, Violation> {
    let Some((prefix, _)) = body.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, a, b, c, d] = *prefix;
    if compressed != 0 {
        return Err(Violation::Compressed);
    }
    match usize::try_from(u32::from_be_bytes([a, b, c, d])) {
        Ok(length) if length <= MAX_RESPONSE => Ok(Some(length)),
        Ok(length) => Err(Violation::TooLarge(length)),
        Err(_) => Err(Violation::TooLarge(usize::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(chunks: &[&[u8]]) -> Result<Bytes, Violation> {
        let mut assembly = Assembly::default();
        for chunk in chunks {
            assembly.push(Bytes::copy_from_slice(chunk))?;
        }
        assembly.finish()
    }

    #[test]
    fn a_request_is_a_flag_a_big_endian_length_and_the_message() {
        let mut payload = frame(Bytes::from_static(b"hello")).unwrap();
        assert_eq!(payload.copy_to_bytes(payload.remaining()), &b"\0\0\0\0\x05hello"[..]);
    }

    #[test]
    fn a_response_is_the_same_however_it_is_cut() {
        let body = b"\0\0\0\0\x05hello";
        assert_eq!(assemble(&[body]).unwrap(), "hello");
        for cut in 0..=body.len() {
            assert_eq!(assemble(&[&body[..cut], &body[cut..]]).unwrap(), "hello", "cut at {cut}");
        }
        let bytes: Vec<_> = body.chunks(1).collect();
        assert_eq!(assemble(&bytes).unwrap(), "hello");
    }

    #[test]
    fn an_empty_message_is_a_message() {
        assert_eq!(assemble(&[b"\0\0\0\0\0"]).unwrap(), "");
    }

    #[test]
    fn a_body_that_is_not_one_message_is_refused() {
        assert_eq!(assemble(&[]), Err(Violation::None));
        assert_eq!(assemble(&[b"\0\0\0"]), Err(Violation::Truncated { got: 3, expected: 5 }));
        assert_eq!(
            assemble(&[b"\0\0\0\0\x05hel"]),
            Err(Violation::Truncated { got: 8, expected: 10 })
        );
        assert_eq!(assemble(&[b"\0\0\0\0\x01ab"]), Err(Violation::Several));
        assert_eq!(assemble(&[b"\x01\0\0\0\x01a"]), Err(Violation::Compressed));
    }

    #[test]
    fn a_response_over_the_limit_is_refused_at_its_first_bytes() {
        assert_eq!(assemble(&[b"\0\x01\0\0\x01"]), Err(Violation::TooLarge(MAX_RESPONSE + 1)));
        assert_eq!(
            assemble(&[b"\0\x01\0\0\0"]),
            Err(Violation::Truncated { got: 5, expected: MAX_RESPONSE + 5 })
        );
    }
}
