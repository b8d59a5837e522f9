//! gRPC's length-prefixed framing: messages into payloads, and chunks of a body
//! into messages. Pure.
//!
//! Own code rather than `tonic::client::Grpc`: this is the whole of it for
//! bytes that need no codec, and it saves each call a boxed body, a stream and
//! a copy. It also knows which side an error came from, which tonic's client
//! does not report.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::io::Cursor;
use std::mem::take;

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

/// The payload without a message, to end a request with.
pub(super) fn nothing() -> Payload {
    let mut prefix = Cursor::new([0; PREFIX]);
    prefix.set_position(PREFIX as u64);
    prefix.chain(Bytes::new())
}

/// A response body that is not the messages it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("the response is compressed, which was not asked for")]
    Compressed,
    #[error("a message of the response has {0} bytes, more than the limit of {MAX_RESPONSE}")]
    TooLarge(usize),
    #[error("the response ends after {got} of {expected} bytes")]
    Truncated { got: usize, expected: usize },
    #[error("the response holds more than one message")]
    Several,
    #[error("the response holds no message")]
    None,
}

/// Takes messages out of the chunks of a response body, however it is cut.
///
/// A message that lies within one chunk is a slice of it. Chunks that come
/// before the messages of earlier ones are taken, and messages that span
/// chunks, are copied once, into one buffer: many small chunks take no more
/// memory than their bytes.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The first untaken bytes, as received.
    chunk: Bytes,
    /// The bytes behind `chunk`.
    rest: BytesMut,
}

impl Decoder {
    /// Takes the next chunk.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.is_empty() {
            self.chunk = chunk;
        } else {
            self.rest.extend_from_slice(&chunk);
        }
    }

    /// The next message, if it is complete.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Violation> {
        let Some(size) = self.peek()? else { return Ok(None) };
        let mut framed = if self.rest.is_empty() || self.chunk.len() >= size {
            let is_all = self.chunk.len() == size;
            if is_all { take(&mut self.chunk) } else { self.chunk.split_to(size) }
        } else {
            let mut rest = take(&mut self.rest);
            if rest.len() < 2 * size {
                // A short remainder must not keep a large buffer alive.
                self.chunk = Bytes::copy_from_slice(rest.get(size..).unwrap_or_default());
                rest.truncate(size);
                rest.freeze()
            } else {
                self.chunk = rest.freeze();
                self.chunk.split_to(size)
            }
        };
        framed.advance(PREFIX);
        Ok(Some(framed))
    }

    /// Whether the next message is complete.
    pub(super) fn has_message(&mut self) -> Result<bool, Violation> {
        self.peek().map(|size| size.is_some())
    }

    /// The size of the next message with its prefix, if it is complete. It lies in
    /// `chunk` as a whole, or in `rest`, and then there is no `chunk`.
    fn peek(&mut self) -> Result<Option<usize>, Violation> {
        let first = first_size(&self.chunk)?;
        if let Some(size) = first.filter(|size| self.chunk.len() >= *size) {
            return Ok(Some(size));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.chunk.is_empty() {
            let mut joined = BytesMut::with_capacity(first.unwrap_or(0).max(self.len()));
            joined.extend_from_slice(&take(&mut self.chunk));
            joined.extend_from_slice(&self.rest);
            self.rest = joined;
        }
        Ok(first_size(&self.rest)?.filter(|size| self.rest.len() >= *size))
    }

    /// Whether all that was pushed was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.rest.is_empty()
    }

    /// The body has ended: remaining bytes are an incomplete message.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        if self.is_empty() {
            return Ok(());
        }
        let first = if self.rest.is_empty() { &*self.chunk } else { &*self.rest };
        Err(Violation::Truncated {
            got: self.len(),
            expected: first_size(first)?.unwrap_or(PREFIX),
        })
    }

    fn len(&self) -> usize {
        self.chunk.len() + self.rest.len()
    }
}

/// The size of a message with its prefix.
pub(super) fn size(message: &Bytes) -> usize {
    PREFIX + message.len()
}

/// The same, of the first message of a body, once its prefix is there.
fn first_size(body: &[u8]) -> Result<Option<usize>, Violation> {
    let Some((prefix, _)) = body.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, a, b, c, d] = *prefix;
    if compressed != 0 {
        return Err(Violation::Compressed);
    }
    match usize::try_from(u32::from_be_bytes([a, b, c, d])) {
        Ok(length) if length <= MAX_RESPONSE => Ok(Some(PREFIX + length)),
        Ok(length) => Err(Violation::TooLarge(length)),
        Err(_) => Err(Violation::TooLarge(usize::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The messages of a body that is cut like this, each taken as soon as it is there.
    fn taken(chunks: &[&[u8]]) -> Result<Vec<Bytes>, Violation> {
        let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(message) = decoder.next()? {
                messages.push(message);
            }
        }
        decoder.finish().map(|()| messages)
    }

    fn body(messages: &[Vec<u8>]) -> Bytes {
        let mut body = BytesMut::new();
        for message in messages {
            body.extend_from_slice(&[0]);
            body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            body.extend_from_slice(message);
        }
        body.freeze()
    }

    #[test]
    fn a_request_is_a_flag_a_big_endian_length_and_the_message() {
        let mut payload = frame(Bytes::from_static(b"hello")).unwrap();
        assert_eq!(payload.copy_to_bytes(payload.remaining()), &b"\0\0\0\0\x05hello"[..]);
        assert_eq!(nothing().remaining(), 0);
    }

    #[test]
    fn a_message_within_one_chunk_is_not_copied() {
        let body = body(&[b"one".to_vec(), b"two".to_vec(), vec![]]);
        let mut decoder = Decoder::default();
        decoder.push(body.clone());
        for expected in ["one", "two"] {
            let message = decoder.next().unwrap().unwrap();
            assert_eq!(message, expected);
            assert!(body.as_ptr_range().contains(&message.as_ptr()));
        }
        assert_eq!(decoder.next().unwrap().unwrap(), "", "an empty message is a message");
        assert_eq!(decoder.next(), Ok(None));
    }

    #[test]
    fn a_short_remainder_does_not_keep_a_large_message_alive() {
        let mut decoder = Decoder::default();
        let body = body(&[vec![7; 100_000], b"next".to_vec()]);
        decoder.push(body.slice(..50_000));
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(body.slice(50_000..));
        let large = decoder.next().unwrap().unwrap();
        assert!(large.try_into_mut().is_ok(), "it is the only one that holds its memory");
        assert_eq!(decoder.next().unwrap().unwrap(), "next");
    }

    proptest! {
        #[test]
        fn the_messages_are_the_same_however_the_body_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            // Before which chunks the messages that are there are taken.
            takes in prop::collection::vec(any::<bool>(), 13),
        ) {
            let whole = body(&messages);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(whole.len());
            let (mut decoder, mut got, mut from) = (Decoder::default(), Vec::new(), 0);
            let mut pushed = 0;
            for (cut, takes) in cuts.into_iter().zip(takes) {
                decoder.push(whole.slice(from..cut));
                pushed += cut - from;
                from = cut;
                let untaken = pushed - body(&got).len();
                prop_assert_eq!(decoder.len(), untaken);
                while takes || cut == whole.len() {
                    let has_message = decoder.has_message().unwrap();
                    let message = decoder.next().unwrap();
                    prop_assert_eq!(has_message, message.is_some());
                    let Some(message) = message else { break };
                    got.push(message.to_vec());
                }
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
            prop_assert_eq!(got, messages);
        }
    }

    #[test]
    fn a_body_that_ends_within_a_message_is_refused() {
        assert_eq!(taken(&[]), Ok(vec![]));
        for cuts in [vec![&b"\0\0\0"[..]], vec![b"\0", b"\0\0"]] {
            assert_eq!(taken(&cuts), Err(Violation::Truncated { got: 3, expected: 5 }));
        }
        for cuts in [vec![&b"\0\0\0\0\x05hel"[..]], vec![b"\0\0\0\0\x05h", b"el"]] {
            assert_eq!(taken(&cuts), Err(Violation::Truncated { got: 8, expected: 10 }));
        }
    }

    #[test]
    fn what_is_compressed_is_refused_behind_the_messages_before_it() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(b"\0\0\0\0\x02ok\x01\0\0\0\x01a"));
        assert_eq!(decoder.next().unwrap().unwrap(), "ok");
        assert_eq!(decoder.has_message(), Err(Violation::Compressed));
        assert_eq!(decoder.next(), Err(Violation::Compressed));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_at_its_first_bytes() {
        for cuts in [vec![&b"\0\x01\0\0\x01"[..]], vec![b"\0\x01", b"\0\0\x01"]] {
            assert_eq!(taken(&cuts), Err(Violation::TooLarge(MAX_RESPONSE + 1)));
        }
        assert_eq!(
            taken(&[b"\0\x01\0\0\0"]),
            Err(Violation::Truncated { got: 5, expected: MAX_RESPONSE + 5 })
        );
    }
}
