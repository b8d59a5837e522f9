//! The gRPC metadata that every call carries.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::identity::Identity;
use crate::routing::identity::Member;

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
const X_PLATFORM: HeaderName = HeaderName::from_static("x-platform");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_METHOD: HeaderName = HeaderName::from_static("x-method");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longer request ids are cut in metadata (never in answers): a service may
/// refuse a connection's every call for one header list that is too long.
const MAX_REQUEST_ID: usize = 256;

/// What all calls of a session share, until it logs in again.
pub(super) fn of_session(identity: &Identity) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let mut set = |name, member| {
        let value = identity.value(member);
        if !value.is_empty() {
            headers.insert(name, header_value(value));
        }
    };
    set(X_USER_ID, Member::UserId);
    set(X_SESSION_ID, Member::SessionId);
    set(X_DEVICE_ID, Member::DeviceId);
    set(X_PLATFORM, Member::Platform);
    set(X_FORWARDED_FOR, Member::Ip);
    let token = identity.value(Member::Token);
    if !token.is_empty()
        && let Some(bearer) = bearer(token)
    {
        headers.insert(AUTHORIZATION, bearer);
    }
    headers
}

/// What one call has of its own. `trace_id` is random.
pub(super) fn of_call(headers: &mut HeaderMap, req_id: &str, method: &str, trace_id: u128) {
    if !req_id.is_empty() {
        let end = req_id.floor_char_boundary(MAX_REQUEST_ID);
        headers.insert(X_REQUEST_ID, header_value(req_id.get(..end).unwrap_or_default()));
    }
    headers.insert(X_METHOD, header_value(method));
    headers.insert(TRACEPARENT, traceparent(trace_id));
}

/// A W3C traceparent that begins a trace. Its flag says that nothing was
/// recorded, as is true of the gateway.
fn traceparent(trace_id: u128) -> HeaderValue {
    // Neither id may be zero (W3C Trace Context, 3.2.2.3 and 3.2.2.4).
    let trace_id = trace_id.max(1);
    #[expect(clippy::cast_possible_truncation, reason = "half of a random number is as random")]
    let span_id = ((trace_id >> 64) as u64 ^ trace_id as u64).max(1);
    header_value(&format!("00-{trace_id:032x}-{span_id:016x}-00"))
}

/// Text as a header's value: what is not printable ASCII is percent-encoded,
/// and so are `%` and spaces, so that two texts never have the same value.
fn header_value(text: &str) -> HeaderValue {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
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
        let mut headers = HeaderMap::new();
        of_call(&mut headers, &"é".repeat(10_000), "/m", 7);
        assert_eq!(headers[X_REQUEST_ID].len(), 128 * 6);
    }

    #[test]
    fn a_traceparent_is_well_formed_even_from_zero() {
        let value = traceparent(0);
        assert_eq!(value, "00-00000000000000000000000000000001-0000000000000001-00");
    }
}
