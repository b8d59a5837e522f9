//! The gRPC metadata that every call carries.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::identity::Identity;
use crate::envelope::codec::Text;
use crate::routing::identity::Member;
use crate::upstream::{Metadata, OWN, Own};

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
const X_PLATFORM: HeaderName = HeaderName::from_static("x-platform");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What each call has of its own; see [`of_call`].
static OF_CALL: [HeaderName; OWN] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-method"),
    HeaderName::from_static("traceparent"),
];

/// Longer request ids are cut in metadata (never in answers): a service may
/// refuse a connection's every call for one header list that is too long.
const MAX_REQUEST_ID: usize = 256;

/// What all calls of a session share, until it logs in again.
pub(super) fn of_session(identity: &Identity) -> Metadata {
    let mut headers = HeaderMap::with_capacity(16);
    let mut set = |name, member, is_common: bool| {
        let value = identity.value(member);
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
    let token = identity.value(Member::Token);
    if !token.is_empty()
        && let Some(bearer) = bearer(token)
    {
        headers.insert(AUTHORIZATION, bearer);
    }
    Metadata::new(headers).with_own(&OF_CALL)
}

/// What one call has of its own, for as long as it takes: the texts may share
/// a frame that is not kept for longer. `trace_id` is random.
pub(super) fn of_call(req_id: &Text, method: &Text, trace_id: u128) -> Own {
    let cut = req_id.floor_char_boundary(MAX_REQUEST_ID);
    let req_id = req_id.slice_ref(req_id.get(..cut).unwrap_or_default());
    let req_id = (!req_id.is_empty()).then(|| shared_value(&req_id));
    [req_id, Some(shared_value(method)), Some(traceparent(trace_id))]
}

/// A part of the request's frame as a header's value, not copied if it can be
/// as it is.
fn shared_value(text: &Text) -> HeaderValue {
    if text.bytes().all(is_plain)
        && let Ok(value) = HeaderValue::from_maybe_shared(text.as_bytes().clone())
    {
        return value;
    }
    header_value(text)
}

/// A W3C traceparent that begins a trace. Its flag says that nothing was
/// recorded, as is true of the gateway.
fn traceparent(trace_id: u128) -> HeaderValue {
    // Neither id may be zero (W3C Trace Context, 3.2.2.3 and 3.2.2.4).
    let trace_id = trace_id.max(1);
    #[expect(clippy::cast_possible_truncation, reason = "half of a random number is as random")]
    let span_id = ((trace_id >> 64) as u64 ^ trace_id as u64).max(1);
    let mut text = Vec::with_capacity(55);
    text.extend(b"00-");
    put_hex(&mut text, &trace_id.to_be_bytes());
    text.push(b'-');
    put_hex(&mut text, &span_id.to_be_bytes());
    text.extend(b"-00");
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

fn put_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// What a header's value can hold as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// Text as a header's value: what is not printable ASCII is percent-encoded,
/// and so are `%` and spaces, so that two texts never have the same value.
fn header_value(text: &str) -> HeaderValue {
    if text.bytes().all(is_plain) {
        return HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

/// A bearer token as it is (RFC 6750). One that no header can hold is no token.
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
        let value = |id: &str| of_call(&Text::from(id), &Text::from("/m"), 7)[0].clone();
        assert_eq!(value(&"é".repeat(10_000)).unwrap().len(), 128 * 6);
        assert_eq!(value(&"a".repeat(10_000)).unwrap().len(), MAX_REQUEST_ID);
        assert_eq!(value("req 1").unwrap(), "req%201");
        assert_eq!(value("req-1").unwrap(), "req-1");
        assert_eq!(value(""), None);
    }

    #[test]
    fn a_traceparent_is_well_formed_even_from_zero() {
        let value = traceparent(0);
        assert_eq!(value, "00-00000000000000000000000000000001-0000000000000001-00");
        let value = traceparent(0x0123_4567_89ab_cdef_0000_0000_0000_0000);
        assert_eq!(value, "00-0123456789abcdef0000000000000000-0123456789abcdef-00");
    }
}
