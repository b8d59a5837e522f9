//! The metadata of one upstream's calls that differs from the usual.

use std::fmt;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::header_size::header_size;

/// How the metadata of an upstream's calls differs from that of all calls.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules {
    drop: Vec<HeaderName>,
    set: HeaderMap,
}

impl Rules {
    /// Removes the headers named in `drop`, then inserts those of `set` in place
    /// of headers of the same name. Values in `set` count as secrets: they are
    /// never indexed (RFC 7541, section 7.1.3).
    #[must_use]
    pub fn new(drop: Vec<HeaderName>, mut set: HeaderMap) -> Self {
        set.values_mut().for_each(|value: &mut HeaderValue| value.set_sensitive(true));
        Self { drop, set }
    }

    /// Whether they change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.set.is_empty()
    }

    /// Whether calls carry `name` as they do by default.
    #[must_use]
    pub fn keeps(&self, name: &HeaderName) -> bool {
        !self.drop.contains(name) && !self.set.contains_key(name)
    }

    /// The inserted headers.
    #[must_use]
    pub fn set(&self) -> &HeaderMap {
        &self.set
    }

    /// The size of the inserted headers, as HTTP/2 counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        self.set.iter().map(|(name, value)| header_size(name.as_str(), value.len())).sum()
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.drop {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

/// The values may be secrets: names are shown alone.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> = self.set.keys().collect();
        f.debug_struct("Rules").field("drop", &self.drop).field("set", &set).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    const KEY: HeaderName = HeaderName::from_static("x-api-key");
    const USER: HeaderName = HeaderName::from_static("x-user-id");

    fn rules() -> Rules {
        let set = [(KEY, HeaderValue::from_static("s3cret"))];
        Rules::new(vec![AUTHORIZATION], set.into_iter().collect())
    }

    #[test]
    fn what_is_dropped_is_gone_and_what_is_set_is_there() {
        let mut headers: HeaderMap = [
            (AUTHORIZATION, HeaderValue::from_static("Bearer t")),
            (USER, HeaderValue::from_static("u1")),
        ]
        .into_iter()
        .collect();
        rules().apply(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["x-user-id"], "u1");
        assert_eq!(headers["x-api-key"], "s3cret");
        assert!(headers["x-api-key"].is_sensitive());
        assert!(!rules().keeps(&AUTHORIZATION) && !rules().keeps(&KEY) && rules().keeps(&USER));
        assert_eq!(rules().size(), 9 + 6 + 32);
    }

    #[test]
    fn a_key_is_never_shown() {
        let shown = format!("{:?}", rules());
        assert!(shown.contains("x-api-key") && !shown.contains("s3cret"), "{shown}");
    }
}
