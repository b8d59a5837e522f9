//! From the bytes of a connection to the messages of its client.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use super::frame::{self, Header, Opcode};

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A message of bytes.
    Binary(Bytes),
    /// A message of text.
    Text(ByteString),
    /// Wants a pong with this payload.
    Ping(Bytes),
    /// The answer to a ping with this payload.
    Pong(Bytes),
    /// The client ends the connection; nothing follows.
    Close(Option<CloseFrame>),
}

/// The content of a close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// The close code.
    pub code: u16,
    /// Why, for people.
    pub reason: Box<str>,
}

/// The client has broken the protocol; nothing can be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message over the limit.
    #[error("a message of more than {0} bytes")]
    TooBig(usize),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A rule of framing.
    #[error("{0}")]
    Framing(&'static str),
}

/// Puts messages together. Holds no memory while no message is under way.
#[derive(Debug)]
pub struct Reader {
    /// Fed, and not taken out yet.
    unread: BytesMut,
    /// Bytes of it that have been looked through for control frames: whole frames.
    seen: u32,
    /// The largest message: at most a gigabyte.
    max_message: u32,
    /// Whether messages were taken out of the same allocation.
    is_shared: bool,
    /// A message whose last piece has not come yet.
    pieces: Option<Box<Pieces>>,
}

#[derive(Debug)]
struct Pieces {
    is_text: bool,
    payload: Vec<u8>,
}

impl Reader {
    /// A reader of messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        let max_message = u32::try_from(max_message).unwrap_or(u32::MAX);
        Self { unread: BytesMut::new(), seen: 0, max_message, is_shared: false, pieces: None }
    }

    /// Takes the next bytes of the connection. Bytes read ahead of messages that
    /// are not taken out are kept: the caller bounds them.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.unread.is_empty() {
            self.unread = BytesMut::from(bytes);
            self.is_shared = false;
        } else {
            self.unread.extend_from_slice(bytes);
        }
    }

    /// Bytes that were fed, and not taken out yet.
    pub fn waiting(&self) -> usize {
        self.unread.len()
    }

    /// The next ping or pong that stands behind messages that are not taken out
    /// yet. It stays where it is, and is passed over when its turn comes.
    pub fn look_ahead(&mut self) -> Option<Message> {
        loop {
            let rest = self.unread.get(self.seen as usize..)?;
            // An error is reported when its turn comes.
            let header = frame::parse(rest).ok()??;
            let len = header.size.checked_add(usize::try_from(header.payload).ok()?)?;
            let payload = rest.get(header.size..len)?;
            let message = match header.opcode {
                // Nothing follows.
                Opcode::Close => return None,
                Opcode::Ping | Opcode::Pong => {
                    let mut payload = BytesMut::from(payload);
                    frame::unmask(&mut payload, header.mask);
                    let is_ping = header.opcode == Opcode::Ping;
                    let message = if is_ping { Message::Ping } else { Message::Pong };
                    Some(message(payload.freeze()))
                }
                _ => None,
            };
            self.seen += u32::try_from(len).ok()?;
            if message.is_some() {
                return message;
            }
        }
    }

    /// Takes out the next message; `None`: it is not complete yet.
    pub fn take_next(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            let header = frame::parse(&self.unread).map_err(Violation::Framing)?;
            let before = self.unread.len();
            let Some(frame) = header.map(|header| self.take(&header)).transpose()?.flatten() else {
                self.let_go();
                return Ok(None);
            };
            if self.seen > 0 {
                let len = u32::try_from(before - self.unread.len()).unwrap_or(u32::MAX);
                let was_seen = self.seen >= len;
                self.seen = self.seen.saturating_sub(len);
                if was_seen && matches!(frame.0.opcode, Opcode::Ping | Opcode::Pong) {
                    continue;
                }
            }
            if let Some(message) = self.message(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Takes out the frame behind a header, without its mask. `None`: it is
    /// not complete yet.
    fn take(&mut self, header: &Header) -> Result<Option<(Header, BytesMut)>, Violation> {
        let before = self.pieces.as_ref().map_or(0, |pieces| pieces.payload.len());
        let before = if header.opcode.is_control() { 0 } else { before };
        let payload = usize::try_from(header.payload).unwrap_or(usize::MAX);
        let max_message = self.max_message as usize;
        if payload > max_message.saturating_sub(before) {
            return Err(Violation::TooBig(max_message));
        }
        let len = header.size.saturating_add(payload);
        if self.unread.len() < len {
            return Ok(None);
        }
        let mut frame = if self.unread.len() == len {
            mem::take(&mut self.unread)
        } else {
            self.is_shared = true;
            self.unread.split_to(len)
        };
        frame.advance(header.size);
        frame::unmask(&mut frame, header.mask);
        Ok(Some((*header, frame)))
    }

    /// The message that a frame is, or completes.
    fn message(&mut self, frame: (Header, BytesMut)) -> Result<Option<Message>, Violation> {
        let (header, payload) = frame;
        match header.opcode {
            Opcode::Ping => return Ok(Some(Message::Ping(payload.freeze()))),
            Opcode::Pong => return Ok(Some(Message::Pong(payload.freeze()))),
            Opcode::Close => return close(&payload).map(|frame| Some(Message::Close(frame))),
            Opcode::Continuation => {
                let Some(pieces) = &mut self.pieces else {
                    return Err(Violation::Framing("a continuation of no message"));
                };
                pieces.payload.extend_from_slice(&payload);
            }
            Opcode::Text | Opcode::Binary if self.pieces.is_some() => {
                return Err(Violation::Framing("a message within another"));
            }
            Opcode::Binary if header.is_final => {
                return Ok(Some(Message::Binary(payload.freeze())));
            }
            Opcode::Text if header.is_final => return text(payload.freeze()).map(Some),
            Opcode::Text | Opcode::Binary => {
                let is_text = header.opcode == Opcode::Text;
                self.pieces = Some(Box::new(Pieces { is_text, payload: payload.into() }));
            }
        }
        match self.pieces.take_if(|_| header.is_final).map(|pieces| *pieces) {
            None => Ok(None),
            Some(Pieces { is_text: true, payload }) => text(payload.into()).map(Some),
            Some(Pieces { payload, .. }) => Ok(Some(Message::Binary(payload.into()))),
        }
    }

    /// The beginning of a frame must not hold on to the messages before it.
    fn let_go(&mut self) {
        if mem::take(&mut self.is_shared) || self.unread.is_empty() {
            self.unread = BytesMut::from(&*self.unread);
        }
    }
}

fn text(payload: Bytes) -> Result<Message, Violation> {
    ByteString::try_from(payload).map(Message::Text).map_err(|_| Violation::NotUtf8)
}

/// Section 5.5.1: nothing, or a code and a reason.
fn close(payload: &[u8]) -> Result<Option<CloseFrame>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let nothing = payload.is_empty().then_some(None);
        return nothing.ok_or(Violation::Framing("a close frame of one byte"));
    };
    let code = u16::from_be_bytes(*code);
    // Section 7.4, and the registry that it founds.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Framing("a close code that no frame may carry"));
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Some(CloseFrame { code, reason: reason.into() }))
}

#[cfg(test)]
mod tests;
