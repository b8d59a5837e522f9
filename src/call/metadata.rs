//! The gRPC metadata that every call carries.
//!
//! Services refuse a call whose headers are too large in all, including names and
//! 32 bytes for each (RFC 9113, section 6.5.2); many from 8 KiB on, and some then
//! end the connection, which other sessions share. So every value that a client
//! influences is bounded here, in its encoded form, and [`most`] computes the
//! maximum.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use percent_encoding::percent_encode_byte;

use crate::protocol::Text;
use crate::routing::Route;
use crate::routing::identity::Member;
use crate::trace::{Parent, TRACEPARENT, TRACESTATE};
use crate::upstream::{Metadata, OWN, Own, Rules, header_size};

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
const X_PLATFORM: HeaderName = HeaderName::from_static("x-platform");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_METHOD: HeaderName = HeaderName::from_static("x-method");
/// The headers that differ for each call; see [`of_call`].
static OF_CALL: [HeaderName; OWN] = [X_REQUEST_ID, X_METHOD, TRACEPARENT];

/// Longer tokens are refused at the login.
pub const MAX_TOKEN: usize = 4096;
/// The same for user ids, in their encoded form.
pub const MAX_USER_ID: usize = 512;
/// The same for device ids, refused by setCxnParams.
pub const MAX_DEVICE_ID: usize = 256;
/// Longer request ids are cut in metadata, never in answers.
const MAX_REQUEST_ID: usize = 256;
/// An IPv6 address, and an IPv4 address within one.
const MAX_IP: usize = 45;
const SESSION_ID: usize = 32;
const TRACEPARENT_LENGTH: usize = 55;
const MAX_TRACESTATE: usize = 512;

/// The largest size of the metadata of a call of `method`, for an upstream with
/// these rules, whatever clients do. `platforms` are the ones that a client may
/// name; headers set by the rules are included.
#[must_use]
pub fn most(rules: Option<&Rules>, platforms: &[String], method: &str) -> usize {
    let platform = platforms.iter().map(|name| encoded_len(name)).max().unwrap_or_default();
    let all = [
        (X_USER_ID, MAX_USER_ID),
        (X_SESSION_ID, SESSION_ID),
        (X_DEVICE_ID, MAX_DEVICE_ID),
        (X_PLATFORM, platform),
        (X_FORWARDED_FOR, MAX_IP),
        (AUTHORIZATION, "Bearer ".len() + MAX_TOKEN),
        (X_REQUEST_ID, MAX_REQUEST_ID),
        (X_METHOD, encoded_len(method)),
        (TRACEPARENT, TRACEPARENT_LENGTH),
        (TRACESTATE, MAX_TRACESTATE),
    ];
    let kept = all.iter().filter(|(name, _)| rules.is_none_or(|rules| rules.keeps(name)));
    let kept: usize = kept.map(|(name, value)| header_size(name.as_str(), *value)).sum();
    kept + rules.map_or(0, Rules::size)
}

/// Whether a text takes no more than `most` bytes as a header's value.
pub fn fits(text: &str, most: usize) -> bool {
    text.len() <= most && encoded_len(text) <= most
}

/// Bytes that a text takes as a header's value.
fn encoded_len(text: &str) -> usize {
    text.bytes().map(encoded_byte).sum()
}

/// Bytes that a byte takes in a header's value.
fn encoded_byte(byte: u8) -> usize {
    if is_plain(byte) { 1 } else { 3 }
}

/// The metadata that all calls of a session share, until it logs in again.
pub(super) fn of_session<'v>(
    value: impl Fn(Member) -> &'v str,
    trace_parent: Option<&Parent>,
) -> Metadata {
    let mut headers = HeaderMap::with_capacity(16);
    let mut set = |name, member, is_common: bool| {
        let value = value(member);
        if !value.is_empty() {
            let mut value = header_value(value);
            // Not worth a place in a connection's table of headers.
            value.set_sensitive(!is_common);
            headers.insert(name, value);
        }
    };
    set(X_USER_ID, Member::UserId, false);
    set(X_SESSION_ID, Member::SessionId, false);
    set(X_DEVICE_ID, Member::DeviceId, false);
    set(X_PLATFORM, Member::Platform, true);
    set(X_FORWARDED_FOR, Member::Ip, false);
    let token = value(Member::Token);
    if !token.is_empty()
        && let Some(bearer) = bearer(token)
    {
        headers.insert(AUTHORIZATION, bearer);
    }
    if let Some(state) = trace_parent.and_then(Parent::tracestate) {
        let mut state = state.clone();
        state.set_sensitive(true);
        headers.insert(TRACESTATE, state);
    }
    Metadata::new(headers).with_own(&OF_CALL)
}

/// The metadata of one call alone, valid while it lasts: the id may share the
/// buffer of a frame that is not kept longer.
pub(super) fn of_call<U>(req_id: &Text, route: &Route<U>, traceparent: HeaderValue) -> Own {
    // No longer than the configuration has it.
    let method = route.header.get_or_init(|| header_value(&route.name));
    [request_id(req_id), Some(method.clone()), Some(traceparent)]
}

fn request_id(req_id: &Text) -> Option<HeaderValue> {
    let cut = req_id.floor_char_boundary(MAX_REQUEST_ID);
    let req_id = req_id.slice_ref(req_id.get(..cut).unwrap_or_default());
    (!req_id.is_empty()).then(|| shared_value(&req_id, MAX_REQUEST_ID))
}

/// A part of the request's frame as a header's value of at most `most` bytes, not
/// copied if it needs no encoding: a plain text is within the bound already.
fn shared_value(text: &Text, most: usize) -> HeaderValue {
    if text.bytes().all(is_plain)
        && let Ok(value) = HeaderValue::from_maybe_shared(text.as_bytes().clone())
    {
        return value;
    }
    header_value(cut(text, most))
}

/// As much of a text as takes no more than `most` bytes as a header's value.
fn cut(text: &str, most: usize) -> &str {
    let mut len = 0;
    let end = text.char_indices().find_map(|(at, character)| {
        let bytes = text.get(at..at + character.len_utf8())?;
        len += encoded_len(bytes);
        (len > most).then_some(at)
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// Whether a byte needs no encoding in a header's value.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// Text as a header's value: bytes other than printable ASCII are
/// percent-encoded, and so are `%` and spaces, so that two texts never have the
/// same value.
fn header_value(text: &str) -> HeaderValue {
    if text.bytes().all(is_plain) {
        return HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encode_byte(byte));
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

/// A bearer token, not encoded (RFC 6750). A token that no header can hold is
/// left out.
fn bearer(token: &str) -> Option<HeaderValue> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::call_size;

    #[test]
    fn what_is_not_ascii_is_percent_encoded() {
        assert_eq!(header_value("user-7"), "user-7");
        assert_eq!(header_value("user 7%"), "user%207%25");
        assert_eq!(header_value("用户%"), "%E7%94%A8%E6%88%B7%25");
        assert_eq!(header_value("a\r\nb: c"), "a%0D%0Ab:%20c");
    }

    #[test]
    fn a_token_is_passed_as_it_is_or_not_at_all() {
        assert_eq!(bearer("a.b%2F=").unwrap(), "Bearer a.b%2F=");
        assert_eq!(bearer("a b"), None);
        assert_eq!(bearer("käse"), None);
    }

    #[test]
    fn long_request_ids_are_cut_between_characters() {
        let value = |id: &str| request_id(&Text::from(id));
        assert_eq!(value(&"é".repeat(10_000)).unwrap().len(), 42 * 6);
        assert_eq!(value(&"a".repeat(10_000)).unwrap().len(), MAX_REQUEST_ID);
        assert_eq!(value(&" ".repeat(256)).unwrap().len(), 85 * 3);
        assert_eq!(value("req 1").unwrap(), "req%201");
        assert_eq!(value("req-1").unwrap(), "req-1");
        assert_eq!(value(""), None);
    }

    #[test]
    fn what_fits_is_what_is_written() {
        assert!(fits(&"a".repeat(256), 256) && !fits(&"a".repeat(257), 256));
        assert!(fits(&"é".repeat(42), 256) && !fits(&"é".repeat(43), 256));
        for text in ["user 7%", "用户%", "a\r\nb: c", ""] {
            assert_eq!(encoded_len(text), header_value(text).len(), "{text:?}");
        }
    }

    /// 8 KiB are the limit of grpc-go's and Node's servers, C-core and others.
    #[test]
    fn whatever_a_client_does_a_call_stays_below_8_kib_with_a_kilobyte_to_spare() {
        let platforms = ["android".to_owned()];
        let most = most(None, &platforms, "/v1/msg/sendMsgList");
        let call = call_size("msg.default.svc.cluster.local:8080".len(), 64);
        assert!(most + call <= 8192 - 1024, "{most} + {call}");
    }
}
