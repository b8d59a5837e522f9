//! Masking of secrets in texts: the bodies of keys that were pasted into them,
//! and the logins in URLs.

use std::borrow::Cow;
use std::ops::Range;

const BEGIN: &str = "-----BEGIN";
const END: &str = "-----END";

/// A text with its secrets replaced by stars, byte by byte, so that offsets in it
/// do not change. Line breaks stay as well.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let hidden: Vec<_> = secrets(text).collect();
    if hidden.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(hide(text, &hidden)) }
}

/// The places of secrets in a text.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> {
    keys(text).chain(logins(text))
}

/// The same, with logins that look like variables: after substitution, a text has
/// no variables.
pub(super) fn all(text: &str) -> impl Iterator<Item = Range<usize>> {
    keys(text).chain(every_login(text))
}

/// A text with stars for these of its bytes.
pub(super) fn hide(text: &str, hidden: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let is_hidden = hidden.iter().any(|range| range.contains(&at));
        if is_hidden && character != '\n' && character != '\r' {
            shown.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The bytes behind a `BEGIN`, up to the `END` or the end of the text.
fn keys(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(BEGIN).map(|(at, _)| {
        let start = at + BEGIN.len();
        let rest = text.get(start..).unwrap_or_default();
        start..start + rest.find(END).unwrap_or(rest.len())
    })
}

/// The logins between `://` and `@`, except variables.
fn logins(text: &str) -> impl Iterator<Item = Range<usize>> {
    every_login(text).filter(|login| !text.get(login.clone()).is_some_and(is_variables))
}

/// The logins between `://` and `@`.
fn every_login(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, scheme)| {
        let start = at + scheme.len();
        let rest = text.get(start..).unwrap_or_default();
        // A quote may be one of a login that should have been percent-encoded.
        let url = rest.split(char::is_whitespace).next()?;
        let (login, _) = url.rsplit_once('@')?;
        Some(start..start + login.len())
    })
}

/// Whether a login is `${USER}:${PASSWORD}`, or such: then it holds no secret.
fn is_variables(login: &str) -> bool {
    let mut rest = login;
    while let Some((before, after)) = rest.split_once("${") {
        // A default in the file may be a secret itself.
        let says_nothing = |name: &str| name.split_once(":-").is_none_or(|(_, it)| it.is_empty());
        let Some((_, behind)) = after
            .split_once('}')
            .filter(|(name, _)| before.trim_matches(':').is_empty() && says_nothing(name))
        else {
            return false;
        };
        rest = behind;
    }
    rest.trim_matches(':').is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_key_is_hidden_wherever_it_stands() {
        assert_eq!(
            masked("key: |\n  -----BEGIN X-----\n  MIIE\n  -----END X-----\na: b\n"),
            "key: |\n  -----BEGIN*******\n******\n**-----END X-----\na: b\n"
        );
        assert_eq!(masked("-----BEGIN K-----\\nMIIE"), "-----BEGIN*************");
    }

    #[test]
    fn the_login_of_a_url_is_hidden_unless_it_is_a_variable() {
        assert_eq!(masked("nats://u:p@w@h:1, x"), "nats://*****@h:1, x");
        for shown in ["nats://h:1", "nats://${U}:${P}@h", "nats://${LOGIN:-}@h", "a@b ://"] {
            assert_eq!(masked(shown), shown);
        }
        assert_eq!(masked("nats://u:${P}@h"), "nats://******@h");
        assert_eq!(masked("nats://${U:-b}:${P:-p}@h"), "nats://***************@h");
        assert_eq!(masked("nats://u:p'w@h"), "nats://*****@h");
    }

    #[test]
    fn places_stay_what_they_are() {
        let text = "nats://ü:p@h é";
        assert_eq!(masked(text).len(), text.len());
        assert_eq!(hide("aéb\nc", &[0..1, 1..5]), "****\nc");
    }
}
