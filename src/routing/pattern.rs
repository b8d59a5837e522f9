//! Methods that may be called before login, by pattern.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A pattern that is none.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{pattern}` is not a pattern for methods: {reason}")]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
    /// The error.
    pub reason: String,
}

/// Globs over whole methods: `*` stays within a segment, `**` crosses them.
#[derive(Debug, Clone)]
pub struct PublicMethods(GlobSet);

impl PublicMethods {
    /// Compiles patterns such as `**/white/**`.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, PatternError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| PatternError {
                pattern: pattern.to_owned(),
                reason: error.kind().to_string(),
            })?);
        }
        let set = set.build().map_err(|error| PatternError {
            pattern: error.glob().unwrap_or_default().to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self(set))
    }

    /// Whether some pattern matches the whole method.
    pub fn matches(&self, method: &str) -> bool {
        self.0.is_match(method)
    }
}

impl Default for PublicMethods {
    /// No method.
    fn default() -> Self {
        Self(GlobSet::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_segments_are_public_wherever_they_stand() {
        let public = PublicMethods::new(["**/white/**"]).unwrap();
        for method in ["/v1/user/white/login", "/white/x", "/a/white/b/c"] {
            assert!(public.matches(method), "{method}");
        }
        for method in ["/v1/white", "/v1/whitefoo/login", "/v1/user/login", "", "/White/x"] {
            assert!(!public.matches(method), "{method}");
        }
    }

    #[test]
    fn a_single_star_stays_in_its_segment() {
        let public = PublicMethods::new(["/v1/*/ping"]).unwrap();
        assert!(public.matches("/v1/a/ping"));
        assert!(!public.matches("/v1/a/b/ping"));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = PublicMethods::new(["/ok", "/v1/[a"]).unwrap_err();
        assert_eq!(error.pattern, "/v1/[a");
    }
}
