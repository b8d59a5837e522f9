//! Frames: the header (RFC 6455, section 5.2) and the mask (section 5.3).

/// The largest payload of a control frame (section 5.5).
pub const MAX_CONTROL: usize = 125;
/// The largest header that a server writes.
pub const MAX_HEADER: usize = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next piece of a message.
    Continuation = 0x0,
    /// A message of text, or its first piece.
    Text = 0x1,
    /// A message of bytes, or its first piece.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// Wants a pong with the same payload.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xA,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether frames of this kind may come between the pieces of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether it is the last piece of its message.
    pub is_final: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key of the payload.
    pub mask: [u8; 4],
    /// Bytes of the payload.
    pub payload: u64,
    /// Bytes of the header itself, 6 to 14.
    pub size: usize,
}

/// Reads the header that `bytes` begin with; `None`: it is not complete yet.
///
/// A length that could have been written in fewer bytes is taken as it is.
/// The error says which rule was broken.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err("a reserved bit is set, and no extension was agreed on");
    }
    let Some(opcode) = Opcode::of(first & 0x0F) else { return Err("an unknown opcode") };
    if second & MASKED == 0 {
        return Err("a client's frame is not masked");
    }
    let is_final = first & FIN != 0;
    let short = second & !MASKED;
    if opcode.is_control() {
        if !is_final {
            return Err("a control frame in pieces");
        }
        if usize::from(short) > MAX_CONTROL {
            return Err("a control frame of more than 125 bytes");
        }
    }
    let (payload, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let size = bytes.len() - rest.len();
    Ok(Some(Header { is_final, opcode, mask: *mask, payload, size }))
}

/// Takes the mask off a payload, or puts it on.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes the header of a server's frame, which is final and not masked.
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, payload: usize) {
    out.push(FIN | opcode as u8);
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(length @ ..126), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((payload as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Result<Option<(Opcode, u64, usize)>, &'static str> {
        parse(bytes).map(|header| header.map(|header| (header.opcode, header.payload, header.size)))
    }

    #[test]
    fn a_length_has_three_forms() {
        assert_eq!(header(&[0x82, 0x85, 1, 2, 3, 4]), Ok(Some((Opcode::Binary, 5, 6))));
        assert_eq!(header(&[0x82, 0xFE, 1, 0, 1, 2, 3, 4]), Ok(Some((Opcode::Binary, 256, 8))));
        let long = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        assert_eq!(header(&long), Ok(Some((Opcode::Binary, 65536, 14))));
        for cut in 0..long.len() {
            assert_eq!(header(&long[..cut]), Ok(None), "{cut} bytes");
        }
    }

    #[test]
    fn the_rules_for_headers_hold() {
        for (bytes, rule) in [
            ([0xC2, 0x80], "reserved"),
            ([0x83, 0x80], "opcode"),
            ([0x8B, 0x80], "opcode"),
            ([0x82, 0x00], "masked"),
            ([0x09, 0x80], "in pieces"),
            ([0x89, 0xFE], "125"),
        ] {
            let broken = header(&bytes).unwrap_err();
            assert!(broken.contains(rule), "{broken}");
        }
    }

    #[test]
    fn a_mask_comes_off_at_any_length() {
        for len in 0..40 {
            let plain: Vec<u8> = (0..len).collect();
            let mut payload: Vec<u8> =
                plain.iter().zip([7, 77, 177, 0].into_iter().cycle()).map(|(a, b)| a ^ b).collect();
            unmask(&mut payload, [7, 77, 177, 0]);
            assert_eq!(payload, plain);
        }
    }

    #[test]
    fn headers_are_as_short_as_they_can_be() {
        let written = |len| {
            let mut out = Vec::new();
            put_header(&mut out, Opcode::Binary, len);
            out
        };
        assert_eq!(written(125), [0x82, 125]);
        assert_eq!(written(126), [0x82, 126, 0, 126]);
        assert_eq!(written(65535), [0x82, 126, 255, 255]);
        assert_eq!(written(65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
