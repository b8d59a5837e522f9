//! The headers of calls: shared by many calls, made once, and each call's own.
//!
//! A call clones one map that has every name in it already, and puts its own
//! values in place: nothing grows, and nothing is hashed twice.
//!
//! # Which values HTTP/2 remembers
//!
//! HPACK (RFC 7541) keeps a table of headers for each connection, and a header
//! that is in it costs a byte. But the table is small (4 KiB), and many callers
//! share a connection: values that differ from caller to caller, or from call
//! to call, evict each other and the shared headers. So such values are marked as
//! sensitive, which h2 takes as "never indexed" (section 6.2.3): they are written
//! out, behind a name that is in the table. The table gets the names from the first
//! call on each connection, whose values are not marked.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::header_size::header_size;
use super::rules::Rules;

/// How many headers a call has of its own, at most.
pub const OWN: usize = 3;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("bridgehead/", env!("CARGO_PKG_VERSION")));

/// The metadata that the calls of one caller share.
#[derive(Debug, Clone)]
pub struct Metadata {
    headers: HeaderMap,
    own: Option<&'static [HeaderName; OWN]>,
    /// The applied rules: the values that they set stay secret.
    rules: Option<Arc<Rules>>,
}

/// The size of a call's headers without any metadata: those of HTTP/2 and of
/// gRPC, with an authority and a path of these lengths.
#[must_use]
pub fn call_size(authority: usize, path: usize) -> usize {
    header_size(":method", "POST".len())
        + header_size(":scheme", "https".len())
        + header_size(":authority", authority)
        + header_size(":path", path)
        + header_size("te", "trailers".len())
        + header_size("content-type", "application/grpc".len())
        + header_size("user-agent", USER_AGENT.len())
        + header_size("grpc-timeout", "99999999m".len())
        + header_size("grpc-previous-rpc-attempts", "1".len())
}

/// The values of the headers that a call has of its own, in the order of their
/// names; `None`: the call goes without.
pub type Own = [Option<HeaderValue>; OWN];

impl Metadata {
    /// Metadata that all calls share. `grpc-timeout`, `content-type`, `te` and
    /// `user-agent` are the upstream's: others are replaced.
    ///
    /// Values that differ from caller to caller should be marked as sensitive;
    /// see above.
    pub fn new(mut headers: HeaderMap) -> Self {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(""));
        headers.remove(PREVIOUS_ATTEMPTS);
        Self { headers, own: None, rules: None }
    }

    /// The same as the calls of an upstream with such rules carry it.
    #[must_use]
    pub fn under(&self, rules: &Arc<Rules>) -> Self {
        let mut headers = self.headers.clone();
        rules.apply(&mut headers);
        Self { headers, own: self.own, rules: Some(Arc::clone(rules)) }
    }

    /// The same, where each call has headers of its own as well. They take the
    /// place of shared ones of the same name.
    #[must_use]
    pub fn with_own(mut self, names: &'static [HeaderName; OWN]) -> Self {
        for name in names {
            self.headers.insert(name, HeaderValue::from_static(""));
        }
        self.own = Some(names);
        self
    }

    /// The headers of one attempt of a call. `timeout`: the value for the service.
    ///
    /// `introduces`: it is the first on its connection.
    pub(super) fn of_attempt(
        &self,
        own: &Own,
        timeout: Option<Timeout>,
        retried: bool,
        introduces: bool,
    ) -> HeaderMap {
        let mut headers = self.headers.clone();
        for (name, value) in self.own.into_iter().flatten().zip(own) {
            let Some(value) = value else {
                headers.remove(name);
                continue;
            };
            if let Some(place) = headers.get_mut(name) {
                place.clone_from(value);
                place.set_sensitive(true);
            }
        }
        match timeout {
            Some(timeout) => drop(headers.insert(GRPC_TIMEOUT, timeout.value())),
            None => drop(headers.remove(GRPC_TIMEOUT)),
        }
        if retried {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from_static("1"));
        }
        if introduces {
            for (name, value) in &mut headers {
                // h2 never puts a token into the table, and it stays marked; so
                // do an upstream's keys.
                let is_set = |rules: &Arc<Rules>| rules.set().contains_key(name);
                if *name == header::AUTHORIZATION || self.rules.as_ref().is_some_and(is_set) {
                    value.set_sensitive(true);
                    continue;
                }
                // The others stay there as long as the connection: as copies,
                // without the client's frame that they may be parts of.
                if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                    *value = copy;
                }
            }
        }
        headers
    }
}

/// The value of `grpc-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeout {
    milliseconds: u32,
    is_whole: bool,
}

impl Timeout {
    /// The longest that can be expressed in milliseconds, of which gRPC allows
    /// eight digits.
    const MOST: u32 = 99_999_999;

    /// The `remaining` time of a call that had `whole` in the beginning, rounded
    /// up: the service's deadline must not come before the caller's, or the
    /// error would come from either side by chance.
    pub(super) fn new(remaining: Duration, whole: Duration) -> Self {
        let milliseconds = |time: Duration| {
            let rounded = time.as_micros().div_ceil(1000).max(1);
            u32::try_from(rounded).unwrap_or(Self::MOST).min(Self::MOST)
        };
        let remaining = milliseconds(remaining);
        Self { milliseconds: remaining, is_whole: remaining == milliseconds(whole) }
    }

    fn value(self) -> HeaderValue {
        let mut text = [0; 9];
        let mut start = text.len();
        let mut rest = self.milliseconds;
        let mut put = |byte| {
            start -= 1;
            if let Some(place) = text.get_mut(start) {
                *place = byte;
            }
        };
        put(b'm');
        loop {
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let text = text.get(start..).unwrap_or_default();
        let mut value = HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("1m"));
        // The time left after a failure differs from call to call.
        value.set_sensitive(!self.is_whole);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HeaderName = HeaderName::from_static("x-a");
    const B: HeaderName = HeaderName::from_static("x-b");
    const C: HeaderName = HeaderName::from_static("x-c");
    static NAMES: [HeaderName; OWN] = [A, B, C];

    fn whole() -> Timeout {
        Timeout::new(Duration::from_secs(5), Duration::from_secs(5))
    }

    fn metadata() -> Metadata {
        let mut secret = HeaderValue::from_static("u1");
        secret.set_sensitive(true);
        let mut token = HeaderValue::from_static("Bearer t");
        token.set_sensitive(true);
        let shared = [
            (HeaderName::from_static("x-user-id"), secret),
            (header::AUTHORIZATION, token),
            (header::TE, HeaderValue::from_static("nonsense")),
            (A, HeaderValue::from_static("shared")),
        ];
        Metadata::new(shared.into_iter().collect()).with_own(&NAMES)
    }

    #[test]
    fn an_attempt_has_what_is_shared_and_what_is_its_own() {
        let own = [Some(HeaderValue::from_static("1")), None, Some(HeaderValue::from_static("3"))];
        let headers = metadata().of_attempt(&own, Some(whole()), false, false);
        assert_eq!(headers["x-user-id"], "u1");
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["grpc-timeout"], "5000m");
        assert_eq!(
            (&headers["x-a"], &headers["x-c"]),
            (&own[0].clone().unwrap(), &own[2].clone().unwrap())
        );
        assert!(!headers.contains_key("x-b"));
        assert!(!headers.contains_key("grpc-previous-rpc-attempts"));
        assert_eq!(headers.len(), 8);
    }

    #[test]
    fn what_varies_is_written_out_but_for_the_first_on_a_connection() {
        let own = [Some(HeaderValue::from_static("1")), None, None];
        let marked = |introduces| {
            let headers = metadata().of_attempt(&own, Some(whole()), false, introduces);
            let marked = headers.iter().filter(|(_, value)| value.is_sensitive());
            let mut names: Vec<_> = marked.map(|(name, _)| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(marked(false), ["authorization", "x-a", "x-user-id"]);
        assert_eq!(marked(true), ["authorization"]);
    }

    #[test]
    fn what_an_upstream_sets_is_written_out_even_by_the_first() {
        let set = [(HeaderName::from_static("x-api-key"), HeaderValue::from_static("s3cret"))];
        let rules = Arc::new(Rules::new(vec![B], set.into_iter().collect()));
        let own = Own::default().map(|_: Option<HeaderValue>| Some(HeaderValue::from_static("1")));
        for introduces in [false, true] {
            let headers =
                metadata().under(&rules).of_attempt(&own, Some(whole()), false, introduces);
            assert!(headers["x-api-key"].is_sensitive());
            assert!(headers.contains_key("x-a") && !headers.contains_key("x-b"));
        }
    }

    #[test]
    fn what_stays_with_a_connection_shares_nothing_with_a_frame() {
        let frame = bytes::Bytes::from(b"request-1 and a secret".to_vec());
        let value = HeaderValue::from_maybe_shared(frame.slice(..9)).unwrap();
        let own = [Some(value), None, None];
        for introduces in [false, true] {
            let headers = metadata().of_attempt(&own, Some(whole()), false, introduces);
            let value = &headers["x-a"];
            assert_eq!(value, "request-1");
            let is_shared = frame.as_ptr_range().contains(&value.as_bytes().as_ptr());
            assert_ne!(is_shared, introduces);
        }
    }

    #[test]
    fn a_timeout_is_rounded_up_to_milliseconds_and_has_eight_digits_at_most() {
        let value = |remaining| Timeout::new(remaining, Duration::from_secs(1)).value();
        assert_eq!(value(Duration::from_micros(1)), "1m");
        assert_eq!(value(Duration::ZERO), "1m");
        assert_eq!(value(Duration::from_micros(999_001)), "1000m");
        assert_eq!(value(Duration::from_hours(48)), "99999999m");
        assert!(!value(Duration::from_micros(999_001)).is_sensitive());
        assert!(value(Duration::from_millis(999)).is_sensitive());
    }

    #[test]
    fn a_call_without_a_deadline_tells_none() {
        let headers = metadata().of_attempt(&Own::default(), None, false, false);
        assert!(!headers.contains_key("grpc-timeout"));
    }

    #[test]
    fn another_attempt_says_so() {
        let headers = metadata().of_attempt(&Own::default(), Some(whole()), true, false);
        assert_eq!(headers["grpc-previous-rpc-attempts"], "1");
    }
}
