//! The bytes of a client's WebSocket.
//!
//! - Any bytes are read or refused, without a panic.
//! - Cutting the stream makes no difference.
//! - Messages are the same as tungstenite's, as far as both read.

#![no_main]

use std::io::{self, Cursor, Read, Write};

use bridgehead::websocket::{Message, Reader, Violation};
use libfuzzer_sys::fuzz_target;
use tungstenite::protocol::{Message as Theirs, Role, WebSocket, WebSocketConfig};

const MAX: usize = 1000;

fuzz_target!(|bytes: &[u8]| {
    let (whole, end) = read(bytes, bytes.len().max(1));
    let size = bytes.first().map_or(1, |byte| usize::from(*byte % 16) + 1);
    assert_eq!(read(bytes, size), (whole.clone(), end));

    // Either may refuse text or a close frame a little earlier than the other.
    let theirs = read_by_tungstenite(bytes);
    for (ours, theirs) in whole.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
});

fn read(bytes: &[u8], size: usize) -> (Vec<Message>, Option<Violation>) {
    let mut reader = Reader::new(MAX);
    let mut messages = Vec::new();
    for chunk in bytes.chunks(size) {
        reader.feed(chunk);
        loop {
            match reader.take_next() {
                Ok(Some(Message::Close(_))) => return (messages, None),
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

fn read_by_tungstenite(bytes: &[u8]) -> Vec<Message> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let stream = Recorded(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    while let Ok(message) = socket.read() {
        messages.push(match message {
            Theirs::Binary(payload) => Message::Binary(payload),
            Theirs::Text(text) => Message::Text(text.as_str().into()),
            Theirs::Ping(payload) => Message::Ping(payload),
            Theirs::Pong(payload) => Message::Pong(payload),
            Theirs::Close(_) | Theirs::Frame(_) => return messages,
        });
    }
    messages
}

/// A stream with an end that accepts all writes.
struct Recorded(Cursor<Vec<u8>>);

impl Read for Recorded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Recorded {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
