//! Errors of the YAML parser, in words for users.

use super::diagnostics::Diagnostics;
use super::source::{Source, Span};

/// Reports that the text is not YAML from the byte `at` on. `info` is the
/// parser's message.
pub(super) fn report(at: usize, info: &str, source: &Source, diagnostics: &mut Diagnostics) {
    let line = source.line_around(at);
    let line_text = source.text().get(line.clone()).unwrap_or_default();
    if info.contains("tab") {
        // The parser points behind the tab, or to where it was when it saw one.
        let (before, behind) = source.text().split_at_checked(at).unwrap_or_default();
        let at = match behind.find('\t') {
            _ if before.ends_with('\t') => at - 1,
            Some(offset) => at + offset,
            None => at,
        };
        diagnostics.error(
            mark(at, source),
            "a tab where YAML allows only spaces",
            "replace the tab by spaces",
        );
        return;
    }
    let (message, help) = match info {
        _ if is_flow(info) && line_text.contains("${") => {
            ("a variable needs quotes inside `[…]` and `{…}`".to_owned(), "write `\"${NAME}\"`")
        }
        "mapping values are not allowed in this context" => (
            "a `:` where no key can be".to_owned(),
            "check the indentation of this line and of the one above it; a value that holds `: ` needs quotes",
        ),
        "while parsing a block mapping, did not find expected key" => (
            "this line does not align with the keys above it".to_owned(),
            "indent it like the other keys of its mapping",
        ),
        "simple key expect ':'" | "simple key expected ':'" => {
            ("the line before this has a key without `:`".to_owned(), "write `key: value`")
        }
        "while parsing node, found unknown anchor" => (
            "an alias without an anchor".to_owned(),
            "an alias `*name` needs a value marked `&name` before it; a text that begins with `*` needs quotes",
        ),
        "recursion limit exceeded" => {
            ("nested more than 255 levels deep".to_owned(), "nothing in this file needs that many")
        }
        _ if info.starts_with("unexpected character") || info.contains("cannot start") => {
            (format!("not YAML: {info}"), "a text that begins with this character needs quotes")
        }
        _ => (
            format!("not YAML: {info}"),
            "check indentation, quotes and brackets here and in the lines above",
        ),
    };
    diagnostics.error(mark(at, source), message, help);
}

fn is_flow(info: &str) -> bool {
    info.contains("flow") || info.contains("illegal placement of ':'")
}

/// One character at `at`, or the end of the line that is there.
fn mark(at: usize, source: &Source) -> Span {
    let line = source.line_around(at);
    let start = at.min(line.end.max(line.start));
    let width = source
        .text()
        .get(start..line.end)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    Span::new(start, start + width)
}
