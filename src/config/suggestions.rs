//! "Did you mean …?", and the right section of a misplaced key.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::schema::{alternatives, model};
use super::words;

/// The candidate that `text` is most likely a misspelling of, if there is one.
pub(super) fn closest<'c>(
    text: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    // Comparing is quadratic in length, and texts this long are no misspellings.
    if text.len() > 200 {
        return None;
    }
    let wanted = normal(text);
    candidates
        .filter_map(|candidate| Some((likeness(&wanted, &normal(candidate))?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance of two names; `None` if they are unrelated.
fn likeness(a: &str, b: &str) -> Option<usize> {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    // `warning` for `warn`.
    let begins = short.len() >= 3 && long.starts_with(short);
    let distance = strsim::damerau_levenshtein(a, b);
    (begins || distance * 3 <= long.chars().count()).then_some(distance)
}

/// `maxMessage`, `max-message` and `MAX_MESSAGE` are one name.
fn normal(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// The sections that have a key of this name: "`edge`, `push` or `admin`".
pub(super) fn homes(key: &str) -> Option<String> {
    static HOMES: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
        let mut homes = HashMap::new();
        search(model(), &mut Vec::new(), &mut homes);
        homes
    });
    let found = HOMES.get(key)?;
    Some(words::list(found.iter().take(3).map(String::as_str), "or"))
}

/// Notes for every key below a schema which sections have it.
fn search(schema: &Json, path: &mut Vec<String>, homes: &mut HashMap<String, Vec<String>>) {
    // The model is six levels deep.
    if path.len() > 6 {
        return;
    }
    for kind in alternatives(schema) {
        for (name, property) in
            kind.get("properties").and_then(Json::as_object).into_iter().flatten()
        {
            if !path.is_empty() {
                homes.entry(name.clone()).or_default().push(path.join("."));
            }
            path.push(name.clone());
            search(property, path, homes);
            path.pop();
        }
        if let Some(values) = kind.get("additionalProperties").filter(|values| values.is_object()) {
            path.push("<name>".to_owned());
            search(values, path, homes);
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant() {
        let keys = ["listen", "max_message", "max_connections", "max_connections_per_ip", "tls"];
        let closest = |text| closest(text, keys.into_iter());
        assert_eq!(closest("listn"), Some("listen"));
        assert_eq!(closest("maxMessage"), Some("max_message"));
        assert_eq!(closest("max-conections"), Some("max_connections"));
        assert_eq!(closest("tsl"), Some("tls"));
        assert_eq!(closest("listening"), Some("listen"));
        assert_eq!(closest("routes"), None);
        assert_eq!(closest(""), None);
    }

    #[test]
    fn a_misplaced_key_finds_its_home() {
        assert_eq!(homes("max_in_flight").as_deref(), Some("`session`"));
        assert_eq!(homes("routes").as_deref(), Some("`upstreams.<name>`"));
        assert_eq!(homes("nonsense"), None);
    }
}
