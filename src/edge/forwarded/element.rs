//! The header `Forwarded` (RFC 7239): elements of `name=value` pairs.

use std::borrow::Cow;

use super::hop::Hop;
use super::node;

/// The elements of a value, from the last to the first.
///
/// Searched from the end: elements that a proxy has added there are split as the
/// proxy meant them, even if the client has opened quotes before them.
pub(super) fn from_the_end(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest.take()?;
        let Some(comma) = last_comma(value) else { return Some(value) };
        let (before, element) = value.split_at(comma);
        rest = Some(before);
        Some(element.get(1..).unwrap_or_default())
    })
}

/// The last comma that is not within quotes.
fn last_comma(value: &[u8]) -> Option<usize> {
    let mut in_quotes = false;
    let mut end = value.len();
    while let Some(at) = value.get(..end)?.iter().rposition(|byte| matches!(byte, b',' | b'"')) {
        end = at;
        if value.get(at) == Some(&b',') {
            if !in_quotes {
                return Some(at);
            }
            continue;
        }
        let escapes = value.get(..at)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 0 {
            in_quotes = !in_quotes;
        }
    }
    None
}

/// The address that an element names.
pub(super) fn hop(element: &[u8]) -> Hop {
    match std::str::from_utf8(element).map(node::trim) {
        Ok("") => Hop::Empty,
        Ok(text) => named_for(text).and_then(|ip| node::address(&ip)).map_or(Hop::Unknown, Hop::At),
        Err(_) => Hop::Unknown,
    }
}

/// The value of `for`, if the element is well-formed and has one.
fn named_for(element: &str) -> Option<Cow<'_, str>> {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        let (value, behind) = value(behind)?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
        let behind = node::trim(behind);
        rest = match behind.strip_prefix(';') {
            Some(next) => node::trim(next),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    found
}

/// A value, and the text behind it. Proxies write addresses with colons and
/// brackets without the quotes that these need, so a value without quotes ends at
/// the next separator.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (!value.is_empty()).then_some((Cow::Borrowed(value), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        from_the_end(value.as_bytes()).map(|part| std::str::from_utf8(part).unwrap()).collect()
    }

    #[test]
    fn commas_within_quotes_separate_nothing() {
        assert_eq!(split("a, b,c"), ["c", " b", "a"]);
        assert_eq!(split(r#"a="1,2",b="\",\\",c"#), ["c", r#"b="\",\\""#, r#"a="1,2""#]);
        assert_eq!(split(","), ["", ""]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn an_element_says_where_its_request_came_from() {
        for (element, says) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("FOR=\"192.0.2.1:80\"", Some("192.0.2.1:80")),
            (r#"for="\1\92.0.2.1""#, Some("192.0.2.1")),
            ("proto=https;for=_x;by=1", Some("_x")),
            ("for=1 ; by=2;", Some("1")),
            ("for=[2001:db8::1]:443;by=2", Some("[2001:db8::1]:443")),
            ("by=1", None),
            ("for=", None),
            ("for=1;for=1", None),
            ("for =1", None),
            ("for=1 by=2", None),
            ("for=\"1", None),
            ("for=\"1\"2", None),
            ("for=1\"2\"", None),
            ("for=\"1\\", None),
            (";for=1", None),
            ("for=1;=2", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(named_for(element).as_deref(), says, "{element}");
        }
    }

    #[test]
    fn a_long_run_of_escapes_is_read_once() {
        let long = format!("for=\"{}\",for=192.0.2.1", "\\\"".repeat(100_000));
        assert_eq!(split(&long).len(), 2);
    }
}
