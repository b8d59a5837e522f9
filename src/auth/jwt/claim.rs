//! The claim that names the user.

use serde_json::{Map, Value};

/// The claim called `name`: one of that whole name, else one on a path whose
/// steps are joined by dots, such as `realm.user.id`.
///
/// A path may begin at a claim with dots in its own name, as names that are
/// URLs have them: `https://example.com/app.user`. The longest such name counts.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(whole) = claims.get(name) {
        return Some(whole);
    }
    name.rmatch_indices('.').find_map(|(at, _)| {
        let (first, steps) = (claims.get(name.get(..at)?)?, name.get(at + 1..)?);
        steps.split('.').try_fold(first, |value, step| value.as_object()?.get(step))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn found(claims: &Value, name: &str) -> Option<String> {
        let found = find(claims.as_object().unwrap(), name);
        found.map(ToString::to_string)
    }

    #[test]
    fn a_claim_may_be_on_a_path() {
        let claims = json!({"sub": "a", "realm": {"user": {"id": 7}, "list": ["x"]}});
        assert_eq!(found(&claims, "sub").unwrap(), "\"a\"");
        assert_eq!(found(&claims, "realm.user.id").unwrap(), "7");
        for name in ["realm.user.name", "realm.list.0", "sub.id", "realm.", ".realm", ".", "user"] {
            assert_eq!(found(&claims, name), None, "{name}");
        }
    }

    #[test]
    fn a_whole_name_with_dots_comes_before_a_path() {
        let claims = json!({"a.b": 1, "a": {"b": 2, "c": 3}, "https://example.com/uid": "u"});
        assert_eq!(found(&claims, "a.b").unwrap(), "1");
        assert_eq!(found(&claims, "a.c").unwrap(), "3");
        assert_eq!(found(&claims, "https://example.com/uid").unwrap(), "\"u\"");
    }

    #[test]
    fn a_path_may_begin_at_a_name_with_dots() {
        let claims = json!({"https://example.com/app": {"user": {"id": "u"}, "user.id": "other"}});
        assert_eq!(found(&claims, "https://example.com/app.user.id").unwrap(), "\"u\"");
    }
}
