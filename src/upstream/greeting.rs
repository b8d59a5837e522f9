//! Identifies a peer that did not become an HTTP/2 connection by its first bytes
//! and by how the connection ended. Pure.

use std::io;
use std::io::ErrorKind::{BrokenPipe, UnexpectedEof};

use h2::Reason;

/// How much of an unknown answer is shown.
const SHOWN: usize = 24;
/// Bytes of a GOAWAY's debug text that are shown, at most.
const SHOWN_WORDS: usize = 128;

/// The head of an HTTP/2 frame (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// The largest frame that a peer may send.
const MAX_FRAME: u32 = 16 * 1024;

/// Whether these first bytes are HTTP/2's: a SETTINGS frame, or the GOAWAY of a
/// peer that refuses at once.
pub(super) fn is_http2(first: &[u8]) -> bool {
    let Some(([a, b, c, kind, flags, stream @ ..], _)) = first.split_first_chunk::<FRAME_HEAD>()
    else {
        return false;
    };
    let length = u32::from_be_bytes([0, *a, *b, *c]);
    let of_connection = stream.iter().all(|byte| *byte == 0);
    of_connection
        && length <= MAX_FRAME
        && match *kind {
            SETTINGS => *flags & 1 == 0 && length.is_multiple_of(6),
            GOAWAY => length >= 8,
            _ => false,
        }
}

/// How a connection ended before it was established.
pub(super) enum Ended {
    /// The peer closed it, in order.
    Closed,
    /// It broke.
    Broken(String),
    /// The peer breaks the rules of HTTP/2.
    Wrong(String),
    /// The peer said goodbye, for this reason.
    Goodbye(Reason),
}

impl Ended {
    /// `error`: h2's error, if any.
    pub(super) fn new(error: Option<&h2::Error>) -> Self {
        let Some(error) = error else { return Self::Closed };
        if let Some(reason) = error.reason().filter(|_| error.is_go_away() && error.is_remote()) {
            return Self::Goodbye(reason);
        }
        // h2's form of an end of file.
        let is_end = |io: &io::Error| matches!(io.kind(), BrokenPipe | UnexpectedEof);
        match error.get_io() {
            Some(io) if is_end(io) => Self::Closed,
            Some(io) => Self::Broken(io.to_string()),
            None => Self::Wrong(error.to_string()),
        }
    }
}

/// Describes the failure, and the remedy where it is known.
pub(super) fn explain(first: &[u8], ended: &Ended) -> String {
    if let Some((reason, words)) = goodbye(first) {
        return format!("the peer sends GOAWAY at once, with {reason:?}{words}");
    }
    let so_far = if first.is_empty() {
        "before it sent any data"
    } else if is_http2(first) {
        "right after the beginning of HTTP/2"
    } else {
        return foreign(first);
    };
    match ended {
        Ended::Closed => format!("the peer closed the connection {so_far}"),
        Ended::Broken(error) => format!("the connection broke {so_far}: {error}"),
        Ended::Wrong(error) => format!("the peer breaks the rules of HTTP/2: {error}"),
        Ended::Goodbye(reason) => {
            format!("the peer sends GOAWAY at once, with {reason:?}")
        }
    }
}

/// The fault of a peer by its first bytes alone: there are none, they are not
/// HTTP/2's, or they are a goodbye. `None`: no fault.
pub(super) fn unwelcome(first: &[u8]) -> Option<String> {
    let is_welcome = is_http2(first) && goodbye(first).is_none();
    (!is_welcome).then(|| explain(first, &Ended::Closed))
}

/// The GOAWAY among the first frames (RFC 9113, 6.8): its reason, and its debug
/// text.
fn goodbye(first: &[u8]) -> Option<(Reason, String)> {
    if !is_http2(first) {
        return None;
    }
    let mut rest = first;
    loop {
        let ([a, b, c, kind, ..], behind) = rest.split_first_chunk::<FRAME_HEAD>()?;
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?;
        if *kind == GOAWAY {
            let (last_and_reason, _) = behind.split_first_chunk::<8>()?;
            let [_, _, _, _, reason @ ..] = *last_and_reason;
            let words = behind.get(8..length.min(behind.len())).unwrap_or_default();
            let words = words.get(..SHOWN_WORDS).unwrap_or(words);
            let told = if words.is_empty() {
                String::new()
            } else {
                format!(", `{}`", words.escape_ascii())
            };
            return Some((u32::from_be_bytes(reason).into(), told));
        }
        rest = behind.get(length..)?;
    }
}

/// A peer that speaks, and not HTTP/2.
fn foreign(first: &[u8]) -> String {
    // A TLS record: an alert or a handshake, of any version.
    if let [21 | 22, 3, ..] = first {
        return "the peer does not speak HTTP/2 here, but TLS: write https:// instead of http://, \
                or `tls` for dns:///"
            .into();
    }
    let line = first.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    if line.starts_with(b"HTTP/") {
        return format!(
            "the peer does not speak HTTP/2 without TLS, but HTTP/1: it answered `{}`",
            line.escape_ascii()
        );
    }
    let shown = first.get(..SHOWN).unwrap_or(first);
    format!("the peer does not speak HTTP/2: it answered `{}`", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(first: &[u8]) -> String {
        explain(first, &Ended::Closed)
    }

    #[test]
    fn the_beginning_of_http2_is_settings_or_a_goodbye() {
        assert!(is_http2(b"\0\0\0\x04\0\0\0\0\0"));
        assert!(is_http2(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0"));
        assert!(is_http2(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01"));
        assert!(!is_http2(b"\0\0\0\x04\0\0\0\0"), "not all of its head");
        assert!(!is_http2(b"\0\0\0\x04\x01\0\0\0\0"), "an acknowledgement");
        assert!(!is_http2(b"\0\0\0\x04\0\0\0\0\x01"), "of a stream");
        assert!(!is_http2(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(!is_http2(b""));
    }

    #[test]
    fn a_peer_that_just_closes_is_not_said_to_speak_something_else() {
        assert_eq!(closed(b""), "the peer closed the connection before it sent any data");
        assert_eq!(
            closed(b"\0\0\0\x04\0\0\0\0\0"),
            "the peer closed the connection right after the beginning of HTTP/2"
        );
    }

    #[test]
    fn a_peer_that_speaks_something_else_is_quoted() {
        assert_eq!(
            closed(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n"),
            "the peer does not speak HTTP/2 without TLS, but HTTP/1: \
             it answered `HTTP/1.1 400 Bad Request`"
        );
        for record in [&b"\x15\x03\x01\0\x02\x02\x46"[..], b"\x16\x03\x03"] {
            assert!(closed(record).contains("write https://"), "{}", closed(record));
        }
        assert_eq!(
            closed(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
            "the peer does not speak HTTP/2: it answered `SSH-2.0-OpenSSH_9.2p1 De`"
        );
        assert_eq!(
            closed(b"\xff\0\n"),
            "the peer does not speak HTTP/2: it answered `\\xff\\x00\\n`"
        );
    }

    #[test]
    fn a_goodbye_is_told_with_its_reason() {
        let frames = |words: &[u8]| {
            let length = u8::try_from(8 + words.len()).unwrap();
            let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
            let goaway = [0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
            [&settings[..], &goaway[..], words].concat()
        };
        let calm = "the peer sends GOAWAY at once, with ENHANCE_YOUR_CALM";
        assert_eq!(closed(&frames(b"")), calm);
        let given = frames(b"too_many_pings");
        assert_eq!(closed(&given), format!("{calm}, `too_many_pings`"));
        let half = explain(&given[..30], &Ended::Goodbye(Reason::ENHANCE_YOUR_CALM));
        assert_eq!(half, calm, "not all of the frame was kept");
        assert_eq!(closed(&given[..30]), closed(&given[..15]), "nothing is known of it");
        assert_eq!(unwelcome(&given), Some(closed(&given)));
        assert_eq!(unwelcome(&given[..15]), None);
        assert_eq!(unwelcome(b""), Some(closed(b"")));
    }
}
