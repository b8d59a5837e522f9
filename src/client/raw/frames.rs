//! WebSocket frames on the wire (RFC 6455, 5.2), as a client sends and gets
//! them. Messages in fragments are refused: the gateway sends none.

use std::ops::Range;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Bytes: the session's messages.
    Binary,
    /// The end.
    Close,
    /// Wants a pong with the same payload.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// A frame that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// Where its payload is in the buffer. The next frame begins at its end.
    pub payload: Range<usize>,
}

/// Bytes that are no frame of a gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// Reserved bits, or an opcode that means nothing.
    #[error("a WebSocket frame of no known kind")]
    Unknown,
    /// A message in several frames.
    #[error("a WebSocket message in fragments")]
    Fragmented,
    /// A server's frames are never masked.
    #[error("a masked WebSocket frame, which a server must not send")]
    Masked,
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// In place of a length: it follows in two bytes, or in eight.
const LEN_16: u8 = 0x7e;
const LEN_64: u8 = 0x7f;

impl Kind {
    fn of(first: u8) -> Result<Self, NotAFrame> {
        match first {
            0x81 => Ok(Self::Text),
            0x82 => Ok(Self::Binary),
            0x88 => Ok(Self::Close),
            0x89 => Ok(Self::Ping),
            0x8a => Ok(Self::Pong),
            0x00..=0x02 | 0x80 => Err(NotAFrame::Fragmented),
            _ => Err(NotAFrame::Unknown),
        }
    }

    const fn opcode(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// The frame that begins at `at`; `None` while it has not come whole.
pub fn read(buffer: &[u8], at: usize) -> Result<Option<Frame>, NotAFrame> {
    let Some([first, second, rest @ ..]) = buffer.get(at..) else { return Ok(None) };
    let kind = Kind::of(*first)?;
    if second & MASKED != 0 {
        return Err(NotAFrame::Masked);
    }
    let (header, len) = match *second {
        LEN_16 => match rest.first_chunk() {
            Some(len) => (4, usize::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        LEN_64 => match rest.first_chunk() {
            Some(len) => (10, usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        len => (2, usize::from(len)),
    };
    let start = at + header;
    let end = start.saturating_add(len);
    Ok((end <= buffer.len()).then_some(Frame { kind, payload: start..end }))
}

/// Appends the header of a client's frame. Its payload of `len` bytes is to follow,
/// masked with the same key.
pub fn put_header(out: &mut Vec<u8>, kind: Kind, len: usize, key: [u8; 4]) {
    out.push(FIN | kind.opcode());
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(MASKED | len),
        (_, Ok(len)) => {
            out.push(MASKED | LEN_16);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(MASKED | LEN_64);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(key);
}

/// Appends a whole frame with its payload.
pub fn put(out: &mut Vec<u8>, kind: Kind, payload: &[u8], key: [u8; 4]) {
    put_header(out, kind, payload.len(), key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(out.get_mut(start..).unwrap_or_default(), key);
}

/// Masks a payload in place, or takes the mask off.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The code and the reason in a close frame's payload.
pub fn close(payload: &[u8]) -> (Option<u16>, String) {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            (Some(u16::from_be_bytes(*code)), String::from_utf8_lossy(reason).into_owned())
        }
        None => (None, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    use super::*;

    /// The bytes that another implementation sends as a server.
    fn sent(message: Message) -> Vec<u8> {
        let mut out = Vec::new();
        let mut server = WebSocket::from_raw_socket(Cursor::new(&mut out), Role::Server, None);
        server.send(message).unwrap();
        out
    }

    /// The message that another implementation reads as a server.
    fn received(bytes: Vec<u8>) -> Message {
        let socket = Cursor::new(bytes);
        WebSocket::from_raw_socket(socket, Role::Server, None).read().unwrap()
    }

    #[test]
    fn frames_of_all_lengths_are_read_and_not_before_they_are_whole() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut bytes = sent(Message::Binary(payload.clone().into()));
            let whole = bytes.len();
            bytes.extend(sent(Message::Ping("x".into())));
            let frame = read(&bytes, 0).unwrap().unwrap();
            assert_eq!((frame.kind, &bytes[frame.payload.clone()]), (Kind::Binary, &payload[..]));
            assert_eq!(frame.payload.end, whole);
            let next = read(&bytes, frame.payload.end).unwrap().unwrap();
            assert_eq!((next.kind, &bytes[next.payload]), (Kind::Ping, &b"x"[..]));
            for cut in [0, 1, whole / 2, whole - 1] {
                assert_eq!(read(&bytes[..cut], 0), Ok(None), "{cut} of {whole}");
            }
        }
    }

    #[test]
    fn frames_are_written_as_servers_read_them() {
        for len in [0, 1, 7, 8, 13, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..251).cycle().take(len).collect();
            let mut out = Vec::new();
            put(&mut out, Kind::Binary, &payload, [1, 2, 3, 250]);
            assert_eq!(received(out), Message::Binary(payload.into()));
        }
        let mut out = Vec::new();
        put(&mut out, Kind::Pong, b"12", [9; 4]);
        assert_eq!(received(out), Message::Pong("12".into()));
    }

    #[test]
    fn what_no_gateway_sends_is_refused() {
        assert_eq!(read(&[0x02, 0x01, b'x'], 0), Err(NotAFrame::Fragmented));
        assert_eq!(read(&[0x80, 0x01, b'x'], 0), Err(NotAFrame::Fragmented));
        assert_eq!(read(&[0x82, 0x81, 0, 0, 0, 0, b'x'], 0), Err(NotAFrame::Masked));
        assert_eq!(read(&[0xc2, 0x01, b'x'], 0), Err(NotAFrame::Unknown));
        assert_eq!(read(&[0x83, 0x00], 0), Err(NotAFrame::Unknown));
    }

    #[test]
    fn a_close_frame_may_be_empty() {
        assert_eq!(close(b""), (None, String::new()));
        assert_eq!(close(b"\x0b\xbdbye"), (Some(3005), "bye".to_owned()));
    }
}
