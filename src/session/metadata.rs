//! The gRPC metadata that every call carries.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::identity::Identity;
use crate::envelope::codec::Text;
use crate::routing::identity::Member;
use crate::trace::{Parent, TRACEPARENT, TRACESTATE};
use crate::upstream::{Metadata, OWN, Own};

const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
const X_PLATFORM: HeaderName = HeaderName::from_static("x-platform");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What each call has of its own; see [`of_call`].
static OF_CALL: [HeaderName; OWN] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-method"), TRACEPARENT];

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
    if let Some(state) = identity.trace_parent().and_then(Parent::tracestate) {
        let mut state = state.clone();
        state.set_sensitive(true);
        headers.insert(TRACESTATE, state);
    }
    Metadata::new(headers).with_own(&OF_CALL)
}

/// What one call has of its own, for as long as it takes: the texts may share
/// a frame that is not kept for longer.
pub(super) fn of_call(req_id: &Text, method: &Text, traceparent: HeaderValue) -> Own {
    let cut = req_id.floor_char_boundary(MAX_REQUEST_ID);
    let req_id = req_id.slice_ref(req_id.get(..cut).unwrap_or_default());
    let req_id = (!req_id.is_empty()).then(|| shared_value(&req_id));
    [req_id, Some(shared_value(method)), Some(traceparent)]
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
        let trace = HeaderValue::from_static("00");
        let value =
            |id: &str| of_call(&Text::from(id), &Text::from("/m"), trace.clone())[0].clone();
        assert_eq!(value(&"é".repeat(10_000)).unwrap().len(), 128 * 6);
        assert_eq!(value(&"a".repeat(10_000)).unwrap().len(), MAX_REQUEST_ID);
        assert_eq!(value("req 1").unwrap(), "req%201");
        assert_eq!(value("req-1").unwrap(), "req-1");
        assert_eq!(value(""), None);
    }
}
