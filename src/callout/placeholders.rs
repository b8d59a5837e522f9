//! The gaps in a text, such as `{user_id}`, and their values.

use super::fields::{self, FieldProblem};

/// A text with its placeholders filled; `value` gives their values by name.
pub(super) fn fill<'v>(text: &str, value: &impl Fn(&str) -> &'v str) -> String {
    pieces(text)
        .map(|piece| match piece {
            Piece::Literal(text) => text,
            Piece::Placeholder(name) => value(name),
        })
        .collect()
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Literal(&'a str),
    /// A name in braces, without them.
    Placeholder(&'a str),
}

/// Takes a text apart. A name is lowercase letters and `_`; braces around
/// anything else are text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (literal, name, behind) = next_placeholder(rest);
        if literal.is_empty() {
            rest = behind;
            return name.map(Piece::Placeholder);
        }
        rest = rest.get(literal.len()..).unwrap_or_default();
        Some(Piece::Literal(literal))
    })
}

/// The text before the first placeholder, its name, and the text behind it.
fn next_placeholder(text: &str) -> (&str, Option<&str>, &str) {
    let found = text.match_indices('{').find_map(|(at, _)| {
        let (before, inside) = text.split_at_checked(at)?;
        let (name, behind) = inside.strip_prefix('{')?.split_once('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_name.then_some((before, Some(name), behind))
    });
    found.unwrap_or((text, None, ""))
}

/// The names of a text's placeholders.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Literal(_) => None,
        Piece::Placeholder(name) => Some(name),
    })
}

/// Whether a text has any placeholders; an error if one of them is not among
/// the `known`.
pub(super) fn has_placeholders(text: &str, known: &[&str]) -> Result<bool, FieldProblem> {
    let mut found = false;
    for name in names(text) {
        found = true;
        if !known.contains(&name) {
            let hint = fields::hint(name, known.iter().copied());
            return Err(FieldProblem::UnknownPlaceholder { name: name.to_owned(), hint });
        }
    }
    Ok(found)
}
