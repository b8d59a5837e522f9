//! The reader by its rules, and against tungstenite.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{self, Role, WebSocket, WebSocketConfig};

use super::*;

const MAX: usize = 1000;

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    // A server's header, with another first byte, and marked as masked.
    let mut frame = Vec::new();
    frame::put_header(&mut frame, Opcode::Binary, payload.len());
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend([9, 8, 7, 6]);
    frame.extend(payload.iter().zip([9, 8, 7, 6].into_iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

fn read(chunks: &[&[u8]]) -> (Vec<Message>, Option<Violation>) {
    let mut reader = Reader::new(MAX);
    let mut messages = Vec::new();
    for chunk in chunks {
        reader.feed(chunk);
        loop {
            match reader.take_next() {
                Ok(Some(message)) => {
                    let is_last = matches!(message, Message::Close(_));
                    messages.push(message);
                    if is_last {
                        return (messages, None);
                    }
                }
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

fn binary(payload: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(payload))
}

fn violation(frames: &[Vec<u8>]) -> Violation {
    read(&[&frames.concat()]).1.expect("a violation")
}

#[test]
fn messages_are_the_same_however_their_bytes_are_cut() {
    let frames = [
        frame(0x82, b"one"),
        frame(0x02, b"tw"),
        frame(0x89, b"ping"),
        frame(0x80, b"o"),
        frame(0x81, "é".as_bytes()),
        frame(0x82, &[3; 300]),
        frame(0x88, &[0x03, 0xE8, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = [
        binary(b"one"),
        Message::Ping(Bytes::from_static(b"ping")),
        binary(b"two"),
        Message::Text("é".into()),
        binary(&[3; 300]),
        Message::Close(Some(CloseFrame { code: 1000, reason: "bye".into() })),
    ];
    assert_eq!(read(&[&frames]), (expected.to_vec(), None));
    for size in 1..20 {
        let chunks: Vec<&[u8]> = frames.chunks(size).collect();
        assert_eq!(read(&chunks), (expected.to_vec(), None), "in chunks of {size}");
    }
}

#[test]
fn messages_over_the_limit_are_refused_at_their_header() {
    assert_eq!(read(&[&frame(0x82, &[0; MAX])]).1, None);
    assert_eq!(violation(&[frame(0x82, &[0; MAX + 1])[..8].to_vec()]), Violation::TooBig(MAX));
    let huge = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    assert_eq!(violation(&[huge.to_vec()]), Violation::TooBig(MAX));
    let pieces = [frame(0x02, &[0; MAX]), frame(0x80, &[0])];
    assert_eq!(violation(&pieces), Violation::TooBig(MAX));
    let with_ping = [frame(0x02, &[0; MAX]), frame(0x89, &[0; 100]), frame(0x80, &[])];
    assert_eq!(read(&[&with_ping.concat()]).0.len(), 2);
}

#[test]
fn pieces_belong_to_one_message() {
    assert!(matches!(violation(&[frame(0x80, b"")]), Violation::Framing(_)));
    assert!(matches!(violation(&[frame(0x02, b""), frame(0x82, b"")]), Violation::Framing(_)));
}

#[test]
fn text_is_utf8_as_a_whole() {
    let snowman = "☃".as_bytes();
    let pieces = [frame(0x01, &snowman[..1]), frame(0x80, &snowman[1..])].concat();
    assert_eq!(read(&[&pieces]), (vec![Message::Text("☃".into())], None));
    assert_eq!(violation(&[frame(0x81, &snowman[..2])]), Violation::NotUtf8);
    assert_eq!(violation(&[frame(0x01, b"a"), frame(0x80, b"\xFF")]), Violation::NotUtf8);
}

#[test]
fn close_frames_have_a_code_that_may_be_sent() {
    let closed = |payload: &[u8]| read(&[&frame(0x88, payload)]);
    assert_eq!(closed(b""), (vec![Message::Close(None)], None));
    for code in [1000u16, 1003, 1007, 1014, 3000, 4999] {
        assert_eq!(closed(&code.to_be_bytes()).1, None, "{code}");
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert!(matches!(closed(&code.to_be_bytes()).1, Some(Violation::Framing(_))), "{code}");
    }
    assert!(matches!(closed(b"\x03").1, Some(Violation::Framing(_))));
    assert_eq!(closed(b"\x03\xE8\xFF").1, Some(Violation::NotUtf8));
}

#[test]
fn nothing_is_held_once_all_is_read() {
    let mut reader = Reader::new(2 << 20);
    let bytes = [frame(0x82, &vec![0; 1 << 20]), frame(0x02, &[0; 100]), frame(0x80, &[0; 100])];
    for chunk in bytes.concat().chunks(65536) {
        reader.feed(chunk);
        while reader.take_next().unwrap().is_some() {}
    }
    assert_eq!(reader.unread.capacity(), 0);
    assert!(reader.pieces.is_none());
}

#[test]
fn the_beginning_of_a_frame_holds_nothing_but_itself() {
    let mut reader = Reader::new(1 << 20);
    let mut bytes = frame(0x82, &vec![0; 60_000]);
    bytes.extend([0x82, 0x85, 1]);
    reader.feed(&bytes);
    assert!(reader.take_next().unwrap().is_some());
    assert!(reader.take_next().unwrap().is_none());
    assert!(reader.unread.capacity() < 100, "{}", reader.unread.capacity());
    reader.feed(&[2, 3, 4, 1, 2, 3, 4, 5]);
    assert_eq!(reader.take_next().unwrap(), Some(binary(&[0, 0, 0, 0, 4])));
}

#[test]
fn a_header_alone_reserves_nothing() {
    let mut reader = Reader::new(1 << 20);
    reader.feed(&frame(0x82, &vec![0; 1 << 20])[..20]);
    assert_eq!(reader.take_next(), Ok(None));
    assert!(reader.unread.capacity() < 100);
}

/// A stream that has been read to its end and takes whatever is written.
struct Recorded(Cursor<Vec<u8>>);

impl Read for Recorded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
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

/// The messages that tungstenite reads from the same bytes.
fn read_by_tungstenite(bytes: &[u8]) -> (Vec<Message>, Option<Violation>) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let stream = Recorded(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(protocol::Message::Binary(payload)) => Message::Binary(payload),
            Ok(protocol::Message::Text(text)) => Message::Text(text.as_str().into()),
            Ok(protocol::Message::Ping(payload)) => Message::Ping(payload),
            Ok(protocol::Message::Pong(payload)) => Message::Pong(payload),
            Ok(protocol::Message::Close(frame)) => {
                messages.push(Message::Close(frame.map(|frame| CloseFrame {
                    code: frame.code.into(),
                    reason: frame.reason.as_str().into(),
                })));
                return (messages, None);
            }
            Ok(protocol::Message::Frame(_)) => unreachable!(),
            Err(Error::Io(_)) => return (messages, None),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                return (messages, Some(Violation::TooBig(MAX)));
            }
            Err(Error::Utf8(_)) => return (messages, Some(Violation::NotUtf8)),
            Err(_) => return (messages, Some(Violation::Framing(""))),
        });
    }
}

/// Which rule of framing it was is each reader's own business, and text that
/// is going wrong may be refused before its end.
fn comparable(read: (Vec<Message>, Option<Violation>)) -> (Vec<Message>, Option<Violation>) {
    let (messages, violation) = read;
    let violation = violation.map(|violation| match violation {
        Violation::Framing(_) => Violation::Framing(""),
        other => other,
    });
    (messages, violation)
}

/// Frames that are mostly right.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x82u8, 0x81, 0x02, 0x01, 0x00, 0x80, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zé☃]{0,20}".prop_map(String::into_bytes),
        1 => prop::collection::vec(0u8..0x80, 100..400),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn frames_are_read_as_tungstenite_reads_them(
        frames in prop::collection::vec(any_frame(), 0..8),
        size in 1usize..600,
    ) {
        let bytes = frames.concat();
        let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
        // tungstenite answers a close code that may not be sent as if it were
        // a good one; that is tested above.
        prop_assume!(!frames.iter().any(|frame| frame[0] & 0x0F == 8));
        prop_assert_eq!(comparable(read(&chunks)), comparable(read_by_tungstenite(&bytes)));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        size in 1usize..50,
    ) {
        let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
        let whole = read(&[&bytes]);
        prop_assert_eq!(read(&chunks), whole);
    }
}

#[test]
fn pings_behind_messages_are_found_and_then_passed_over() {
    let frames = [
        frame(0x82, b"one"),
        frame(0x89, b"first"),
        frame(0x02, b"tw"),
        frame(0x8A, b"pong"),
        frame(0x80, b"o"),
        frame(0x89, b"second"),
        frame(0x82, b"three"),
    ]
    .concat();
    let ping = |text: &'static str| Message::Ping(text.into());
    let ahead = [ping("first"), Message::Pong("pong".into()), ping("second")];
    let behind = [binary(b"one"), binary(b"two"), binary(b"three"), ping("third")];
    for size in 1..=frames.len() {
        let mut reader = Reader::new(MAX);
        let mut found = Vec::new();
        for chunk in frames.chunks(size) {
            reader.feed(chunk);
            found.extend(std::iter::from_fn(|| reader.look_ahead()));
        }
        assert_eq!(found, ahead, "in chunks of {size}");
        assert_eq!(reader.waiting(), frames.len());
        reader.feed(&frame(0x89, b"third"));
        let taken: Vec<_> = std::iter::from_fn(|| reader.take_next().unwrap()).collect();
        assert_eq!(taken, behind, "in chunks of {size}");
        assert_eq!((reader.waiting(), reader.unread.capacity(), reader.seen), (0, 0, 0));
    }
}

#[test]
fn what_was_only_looked_at_in_part_is_found_when_its_turn_comes() {
    let frames = [frame(0x82, b"one"), frame(0x89, b"ping"), frame(0x82, b"two")].concat();
    for cut in 1..frames.len() {
        let mut reader = Reader::new(MAX);
        reader.feed(&frames[..cut]);
        let early = reader.look_ahead();
        reader.feed(&frames[cut..]);
        let taken: Vec<_> = std::iter::from_fn(|| reader.take_next().unwrap()).collect();
        let pings = taken.iter().filter(|it| matches!(it, Message::Ping(_))).count();
        assert_eq!(pings + usize::from(early.is_some()), 1, "cut at {cut}");
        assert_eq!(taken.len() - pings, 2);
    }
}

#[test]
fn nobody_looks_beyond_a_close_frame_or_a_violation() {
    for wall in [frame(0x88, b""), frame(0xF2, b"reserved"), frame(0x09, b"fragmented ping")] {
        let mut reader = Reader::new(MAX);
        reader.feed(&[frame(0x82, b"one"), wall, frame(0x89, b"ping")].concat());
        assert_eq!(reader.look_ahead(), None);
        assert_eq!(reader.take_next(), Ok(Some(binary(b"one"))));
    }
}

proptest! {
    /// However bytes come, and whenever is looked ahead: messages are the same, and
    /// each ping and pong is reported once.
    #[test]
    fn looking_ahead_changes_nothing_about_messages(
        frames in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        cuts in prop::collection::vec((1usize..60, any::<bool>(), 0usize..4), 1..40),
    ) {
        let frames: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, payload)| match kind {
                0 => frame(0x82, payload),
                1 => [frame(0x02, payload), frame(0x80, payload)].concat(),
                2 => [frame(0x02, payload), frame(0x89, payload), frame(0x80, b"")].concat(),
                3 => frame(0x89, payload),
                4 => frame(0x8A, payload),
                _ => frame(0x81, b"text"),
            })
            .collect();
        let is_control = |message: &Message| matches!(message, Message::Ping(_) | Message::Pong(_));
        let (expected, _) = read(&[&frames]);
        let mut reader = Reader::new(MAX);
        let (mut taken, mut controls) = (Vec::new(), Vec::new());
        let mut rest = &frames[..];
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let (size, looks, takes) = cuts.next().unwrap();
            let (now, later) = rest.split_at(size.min(rest.len()));
            reader.feed(now);
            rest = later;
            if looks {
                controls.extend(std::iter::from_fn(|| reader.look_ahead()));
            }
            for _ in 0..takes {
                let Some(message) = reader.take_next().unwrap() else { break };
                let to = if is_control(&message) { &mut controls } else { &mut taken };
                to.push(message);
            }
        }
        for message in std::iter::from_fn(|| reader.take_next().unwrap()) {
            let to = if is_control(&message) { &mut controls } else { &mut taken };
            to.push(message);
        }
        let (expected_controls, expected): (Vec<_>, Vec<_>) =
            expected.into_iter().partition(is_control);
        prop_assert_eq!(taken, expected);
        prop_assert_eq!(controls, expected_controls);
        prop_assert_eq!((reader.waiting(), reader.seen), (0, 0));
    }
}
