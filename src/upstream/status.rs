//! Reads a gRPC status out of headers or trailers, also one that a service got
//! wrong. Pure.
//!
//! Own code, since tonic answers `UNKNOWN` to a status whose message is not
//! UTF-8, and panics over details that are not base64.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: &str = "grpc-status-details-bin";

/// The longest message, in bytes; more of it is cut off. It ends up in logs, and
/// with clients where errors are exposed.
const MAX_MESSAGE: usize = 4 * 1024;
/// The ASCII that is escaped in a message; all other scripts are anyway.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
/// How much of an invalid `grpc-status` is shown.
const MAX_SHOWN: usize = 32;

/// Whether trailers, or headers, say that all is well.
pub(super) fn says_ok(headers: &HeaderMap) -> bool {
    headers.get(GRPC_STATUS).is_some_and(|status| status.as_bytes() == b"0")
}

/// Whether they say that the time is over, or that the call was cancelled: a
/// server says so by itself, whatever its handlers do.
pub(super) fn says_over(headers: &HeaderMap) -> bool {
    let code = headers.get(GRPC_STATUS).and_then(|status| code(status.as_bytes()));
    matches!(code, Some(Code::DeadlineExceeded | Code::Cancelled))
}

/// Reads the status out of trailers, or of the headers of an answer that has
/// nothing else. `None` without a `grpc-status`; `Ok` is a status as well.
///
/// The code stands, whatever the rest is like: a message is decoded as far as it
/// can be, and details that are not base64 are left out. A `grpc-status` that is
/// no code is `UNKNOWN`.
pub(super) fn status_of(mut headers: HeaderMap) -> Option<Status> {
    if says_ok(&headers) {
        return Some(Status::ok(""));
    }
    let given = headers.remove(GRPC_STATUS)?;
    let message = headers.remove(GRPC_MESSAGE);
    let mut message = message.map_or_else(String::new, |text| decode(text.as_bytes()));
    let code = code(given.as_bytes()).unwrap_or_else(|| {
        if message.is_empty() {
            let shown = given.as_bytes();
            let shown = shown.get(..MAX_SHOWN).unwrap_or(shown).escape_ascii();
            message = format!(
                "the service answered with grpc-status `{shown}`, which is not a status code"
            );
        }
        Code::Unknown
    });
    let mut metadata = MetadataMap::from_headers(headers);
    let details = metadata.remove_bin(DETAILS).and_then(|details| details.to_bytes().ok());
    Some(Status::with_details_and_metadata(code, message, details.unwrap_or_default(), metadata))
}

/// Repairs a status that tonic's clients could not read.
pub(super) fn made_readable(mut headers: HeaderMap) -> HeaderMap {
    if let Some(message) = headers.get(GRPC_MESSAGE)
        && let Ok(encoded) = HeaderValue::try_from(encode(&decode(message.as_bytes())))
    {
        headers.insert(GRPC_MESSAGE, encoded);
    }
    let mut metadata = MetadataMap::from_headers(headers);
    if metadata.get_bin(DETAILS).is_some_and(|details| details.to_bytes().is_err()) {
        metadata.remove_bin(DETAILS);
    }
    metadata.into_headers()
}

/// The code of a `grpc-status`: a decimal number, of which 0 to 16 have a name.
fn code(status: &[u8]) -> Option<Code> {
    let text = std::str::from_utf8(status).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    (0..=16).contains(&number).then(|| Code::from_i32(number))
}

/// A percent-encoded message. Invalid escapes stay as they are, and bytes that
/// are not UTF-8 become U+FFFD, as gRPC wants it.
fn decode(encoded: &[u8]) -> String {
    let mut decoded = percent_decode(encoded);
    let bytes: Vec<u8> = decoded.by_ref().take(MAX_MESSAGE).collect();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if decoded.next().is_some() || text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE));
        text.push('…');
    }
    text
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let value = |bytes| HeaderValue::from_bytes(bytes).unwrap();
        pairs.iter().map(|(name, bytes)| (name.parse().unwrap(), value(bytes))).collect()
    }

    #[test]
    fn a_status_comes_with_its_decoded_message_and_details() {
        let status = status_of(headers(&[
            ("grpc-status", b"5"),
            ("grpc-message", b"no%20such%20user"),
            ("grpc-status-details-bin", b"aGVsbG8"),
            ("x-more", b"1"),
        ]))
        .unwrap();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "no such user");
        assert_eq!(status.details(), b"hello");
        assert_eq!(status.metadata().get("x-more").unwrap(), "1");
        assert_eq!(status.metadata().len(), 1, "the status is no metadata");
    }

    #[test]
    fn a_message_is_decoded_as_far_as_it_goes_and_the_code_stands() {
        for (encoded, message) in [
            (&b"caf%E9"[..], "caf\u{fffd}"),
            (b"caf%C3%A9", "café"),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xe9 closed", "caf\u{fffd} closed"),
            (b"100%", "100%"),
            (b"100%2", "100%2"),
            (b"%zz%f", "%zz%f"),
            (b"50%25%20off%", "50% off%"),
            (b"%ff%20%zz\xff", "\u{fffd} %zz\u{fffd}"),
            (b"", ""),
        ] {
            let mut given = headers(&[("grpc-status", b"7")]);
            given.insert(GRPC_MESSAGE, HeaderValue::from_bytes(encoded).unwrap());
            let status = status_of(given.clone()).unwrap();
            assert_eq!((status.code(), status.message()), (Code::PermissionDenied, message));
            let readable = Status::from_header_map(&made_readable(given)).unwrap();
            assert_eq!((readable.code(), readable.message()), (Code::PermissionDenied, message));
        }
    }

    #[test]
    fn a_message_is_cut_where_it_gets_long() {
        for text in ["x".repeat(60_000), "%C3%A9".repeat(10_000), "%FF".repeat(10_000)] {
            let value = HeaderValue::try_from(text).unwrap();
            let status = status_of(HeaderMap::from_iter([
                (GRPC_STATUS, HeaderValue::from_static("3")),
                (GRPC_MESSAGE, value),
            ]));
            let message = status.unwrap().message().to_owned();
            assert!(message.ends_with('…') && message.len() <= MAX_MESSAGE + '…'.len_utf8());
            assert!(message.len() > MAX_MESSAGE / 2);
        }
        let whole = "x".repeat(MAX_MESSAGE);
        assert_eq!(decode(whole.as_bytes()), whole);
    }

    #[test]
    fn details_that_are_not_base64_are_left_out() {
        for details in [&b"%"[..], b"\xff", b"a"] {
            let mut given = headers(&[("grpc-status", b"13"), ("grpc-message", b"why")]);
            given.insert(DETAILS, HeaderValue::from_bytes(details).unwrap());
            let status = status_of(given.clone()).unwrap();
            assert_eq!((status.code(), status.message()), (Code::Internal, "why"));
            assert_eq!(status.details(), b"");
            assert!(!made_readable(given).contains_key(DETAILS));
        }
    }

    #[test]
    fn a_status_that_is_no_code_is_unknown_and_told() {
        for (given, code, message) in [
            (
                &b"99"[..],
                Code::Unknown,
                "the service answered with grpc-status `99`, which is not a status code",
            ),
            (
                b"OK",
                Code::Unknown,
                "the service answered with grpc-status `OK`, which is not a status code",
            ),
            (
                b"-1",
                Code::Unknown,
                "the service answered with grpc-status `-1`, which is not a status code",
            ),
            (
                b"+5",
                Code::Unknown,
                "the service answered with grpc-status `+5`, which is not a status code",
            ),
            (
                b"",
                Code::Unknown,
                "the service answered with grpc-status ``, which is not a status code",
            ),
            (
                b"\xff",
                Code::Unknown,
                "the service answered with grpc-status `\\xff`, which is not a status code",
            ),
            (b"05", Code::NotFound, ""),
            (b"00", Code::Ok, ""),
            (b"16", Code::Unauthenticated, ""),
        ] {
            let given = HeaderValue::from_bytes(given).unwrap();
            let status = status_of(HeaderMap::from_iter([(GRPC_STATUS, given)])).unwrap();
            assert_eq!((status.code(), status.message()), (code, message));
        }
        let long = HeaderValue::try_from("x".repeat(50_000)).unwrap();
        let status = status_of(HeaderMap::from_iter([(GRPC_STATUS, long)])).unwrap();
        assert!(status.message().len() < 120);
        let own = headers(&[("grpc-status", b"99"), ("grpc-message", b"mine")]);
        assert_eq!(status_of(own).unwrap().message(), "mine");
    }

    #[test]
    fn no_grpc_status_is_no_status() {
        let given = [("content-type", &b"application/grpc"[..]), ("grpc-message", b"why")];
        assert!(status_of(headers(&given)).is_none());
    }

    #[test]
    fn what_servers_say_by_themselves_is_known() {
        assert!(says_over(&headers(&[("grpc-status", b"4")])));
        assert!(says_over(&headers(&[("grpc-status", b"1")])));
        assert!(!says_over(&headers(&[("grpc-status", b"14")])));
        assert!(!says_over(&headers(&[])));
        assert!(says_ok(&headers(&[("grpc-status", b"0")])));
    }
}
