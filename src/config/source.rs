//! The text of a configuration file, and places in it.

use std::ops::Range;

use parking_lot::Mutex;

use super::masking;

/// A part of a [`Source`]'s text: bytes from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Span { start, end: end.max(start) }
    }
}

/// A file's name and text.
#[derive(Debug, Default)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins. Never empty; begins with 0.
    line_starts: Vec<usize>,
    /// The places of known secrets.
    secrets: Mutex<Vec<Span>>,
}

impl Source {
    /// Takes a text. A byte order mark at its beginning is not part of it.
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text = text.split_off('\u{feff}'.len_utf8());
        }
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        let secrets = masking::secrets(&text).map(|range| Span::new(range.start, range.end));
        let secrets = Mutex::new(secrets.collect());
        Source { name: name.into(), text, line_starts, secrets }
    }

    /// The file's name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Masks the text there from now on.
    pub(super) fn hide(&self, span: Span) {
        self.secrets.lock().push(span);
    }

    /// These bytes of the text as they may be shown, with stars for secrets.
    pub(super) fn shown(&self, range: Range<usize>) -> String {
        let secrets = self.secrets.lock();
        let within = secrets.iter().filter(|it| it.start < range.end && it.end > range.start);
        let within = within
            .map(|it| it.start.saturating_sub(range.start)..it.end.saturating_sub(range.start));
        let text = self.text.get(range.clone()).unwrap_or_default();
        masking::hide(text, &within.collect::<Vec<_>>())
    }

    /// The text of `span`; empty if `span` is out of range.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_of(at);
        let start = self.line_starts.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..at).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    /// The bytes of the line that holds the byte `at`, without its line break.
    pub(super) fn line_around(&self, at: usize) -> Range<usize> {
        let line = self.line_of(at);
        let start = self.line_starts.get(line).copied().unwrap_or_default();
        let end = self.line_starts.get(line + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or_default();
        start..start + line.trim_end_matches(['\n', '\r']).len()
    }

    /// The first line of `span`, without white space at its end.
    pub(super) fn first_line(&self, span: Span) -> Span {
        let end = span.end.min(self.line_around(span.start).end).max(span.start);
        let text = self.text.get(span.start..end).unwrap_or_default();
        Span::new(span.start, span.start + text.trim_end().len())
    }

    /// The index of the line that holds the byte `at`.
    fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_in_characters_from_one() {
        let source = Source::new("x", "aé: b\r\nc");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (1, 3));
        assert_eq!(source.position(8), (2, 1));
        assert_eq!(source.position(9), (2, 2));
        assert_eq!(Source::new("x", "").position(0), (1, 1));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(Source::new("x", "\u{feff}a").text(), "a");
    }

    #[test]
    fn a_span_ends_with_its_first_line() {
        let source = Source::new("x", "a:  \r\n  b\n");
        assert_eq!(source.slice(source.first_line(Span::new(0, 9))), "a:");
        assert_eq!(source.slice(source.first_line(Span::new(6, 10))), "  b");
        assert_eq!(source.first_line(Span::new(10, 10)), Span::new(10, 10));
    }
}
