//! YAML text as a tree whose nodes have their places.
//!
//! The tree is built from the parser's events, so that nothing is lost on the
//! way: duplicate keys are reported, aliases are shared rather than copied and
//! counted rather than trusted, and depth is bounded. Variables are replaced
//! here. The meaning of a text (number, boolean, duration) is left to the module
//! that knows the expected type.

use std::sync::Arc;

use super::source::{Source, Span};

/// A part of the document.
#[derive(Debug)]
pub(super) struct Node {
    /// Its place. For a mapping or a list, its first line only.
    pub(super) span: Span,
    /// Its kind and content.
    pub(super) value: Value,
    /// Number of nodes below it and itself; aliased ones count each time.
    pub(super) size: usize,
    /// Number of levels below it.
    pub(super) height: usize,
}

/// The kind and content of a node.
#[derive(Debug)]
pub(super) enum Value {
    /// A text of any meaning.
    Scalar(Scalar),
    /// A list of nodes.
    List(Vec<Arc<Node>>),
    /// Keys and nodes, in the order of the text, no key twice.
    Mapping(Vec<Entry>),
    /// An invalid node, which has been reported.
    Bad,
}

/// A key of a mapping and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key, with variables replaced.
    pub(super) key: String,
    /// The key as the file has it.
    pub(super) written: String,
    /// The place of the key.
    pub(super) key_span: Span,
    /// The value.
    pub(super) value: Arc<Node>,
}

/// A text in the document.
#[derive(Debug)]
pub(super) struct Scalar {
    /// The text, with variables replaced.
    pub(super) text: String,
    /// The text as the file has it, where variables were replaced.
    pub(super) written: Option<String>,
    /// Whether it is not quoted, so that it may be a number, a boolean or null.
    pub(super) plain: bool,
}

/// The meaning of a scalar by itself, in YAML's core schema.
///
/// <https://yaml.org/spec/1.2.2/#1032-tag-resolution>
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole or other number.
    Number(serde_json::Number),
    /// Anything else.
    Text,
}

impl Node {
    pub(super) fn scalar(span: Span, scalar: Scalar) -> Self {
        Node { span, value: Value::Scalar(scalar), size: 1, height: 0 }
    }

    pub(super) fn bad(span: Span) -> Self {
        Node { span, value: Value::Bad, size: 1, height: 0 }
    }

    pub(super) fn list(span: Span, items: Vec<Arc<Node>>) -> Self {
        let size = items.iter().fold(1, |sum: usize, item| sum.saturating_add(item.size));
        let height = items.iter().map(|item| item.height + 1).max().unwrap_or_default();
        Node { span, value: Value::List(items), size, height }
    }

    pub(super) fn mapping(span: Span, entries: Vec<Entry>) -> Self {
        let size = entries.iter().fold(1, |sum: usize, entry| sum.saturating_add(entry.value.size));
        let height = entries.iter().map(|entry| entry.value.height + 1).max().unwrap_or_default();
        Node { span, value: Value::Mapping(entries), size, height }
    }

    /// The entry of a mapping with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Widens a span so that it covers the whole node.
    fn cover(&self, span: &mut Span) {
        let mut take = |other: Span| {
            *span = Span::new(span.start.min(other.start), span.end.max(other.end));
        };
        take(self.span);
        match &self.value {
            Value::Scalar(_) | Value::Bad => {}
            Value::List(items) => items.iter().for_each(|item| item.cover(span)),
            Value::Mapping(entries) => {
                for entry in entries {
                    take(entry.key_span);
                }
                for entry in entries {
                    entry.value.cover(span);
                }
            }
        }
    }

    /// Whether it counts as left out: empty, `null`, or an empty variable.
    pub(super) fn is_absent(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.meaning() == Meaning::Null
                    || (scalar.written.is_some() && scalar.text.is_empty())
            }
            _ => false,
        }
    }
}

impl Scalar {
    /// The text as it may be shown: never a value from the environment.
    pub(super) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }

    /// Its meaning by itself.
    pub(super) fn meaning(&self) -> Meaning {
        if !self.plain {
            return Meaning::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Boolean(true),
            "false" | "False" | "FALSE" => Meaning::Boolean(false),
            text => number(text).map_or(Meaning::Text, Meaning::Number),
        }
    }
}

/// A number of YAML's core schema, except infinities and NaN, as in JSON.
pub(super) fn number(text: &str) -> Option<serde_json::Number> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        digits.starts_with(|first: char| first.is_ascii_hexdigit()).then_some(())?;
        u64::from_str_radix(digits, radix).ok().map(serde_json::Number::from)
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(number);
    }
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || !digits.contains(|digit: char| digit.is_ascii_digit())
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole = if negative {
            text.parse::<i64>().ok().map(serde_json::Number::from)
        } else {
            digits.parse::<u64>().ok().map(serde_json::Number::from)
        };
        if whole.is_some() {
            return whole;
        }
    }
    text.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}

/// The document, with the places of its nodes.
#[derive(Debug)]
pub(super) struct Document {
    /// The text that it was read from.
    pub(super) source: Arc<Source>,
    /// Its root; only a mapping is of use.
    pub(super) root: Arc<Node>,
}

impl Document {
    /// The place of the value at `path`. A mapping or a list behind a key is
    /// shown by its key. Where there is no such value, its nearest
    /// ancestor is taken; list items are named by their index.
    pub(super) fn at(&self, path: &[&str]) -> Span {
        let mut node = &self.root;
        let mut span = self.root.span;
        for step in path {
            let next = match &node.value {
                Value::Mapping(_) => {
                    node.entry(step).map(|entry| (&entry.value, Some(entry.key_span)))
                }
                Value::List(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item, None)),
                Value::Scalar(_) | Value::Bad => None,
            };
            let Some((value, key_span)) = next else { break };
            span = match (&value.value, key_span) {
                (Value::Mapping(_) | Value::List(_), Some(key_span)) => key_span,
                _ if value.span.start == value.span.end => key_span.unwrap_or(value.span),
                _ => value.span,
            };
            node = value;
        }
        span
    }

    /// The whole value at `path`, with the key before it. `None` if there is no
    /// such value.
    pub(super) fn extent(&self, path: &[&str]) -> Option<Span> {
        let (mut node, mut key) = (&self.root, None);
        for step in path {
            (node, key) = match &node.value {
                Value::Mapping(_) => {
                    let entry = node.entry(step)?;
                    (&entry.value, Some(entry.key_span))
                }
                Value::List(items) => (items.get(step.parse::<usize>().ok()?)?, None),
                Value::Scalar(_) | Value::Bad => return None,
            };
        }
        let mut extent = key.unwrap_or(node.span);
        node.cover(&mut extent);
        Some(extent)
    }

    /// The place of the key that `path` ends with, or that of [`Document::at`].
    pub(super) fn key_at(&self, path: &[&str]) -> Span {
        let key_span = path.split_last().and_then(|(key, parents)| {
            let parent = self.find(parents)?;
            parent.entry(key).map(|entry| entry.key_span)
        });
        key_span.unwrap_or_else(|| self.at(path))
    }

    /// The node at `path`, through mappings only.
    pub(super) fn find(&self, path: &[&str]) -> Option<&Arc<Node>> {
        path.iter().try_fold(&self.root, |node, step| node.entry(step).map(|entry| &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str) -> Meaning {
        Scalar { text: text.to_owned(), written: None, plain: true }.meaning()
    }

    #[test]
    fn plain_texts_mean_what_yaml_says() {
        assert_eq!(meaning(""), Meaning::Null);
        assert_eq!(meaning("~"), Meaning::Null);
        assert_eq!(meaning("True"), Meaning::Boolean(true));
        assert_eq!(meaning("12"), Meaning::Number(12.into()));
        assert_eq!(meaning("+12"), Meaning::Number(12.into()));
        assert_eq!(meaning("-12"), Meaning::Number((-12).into()));
        assert_eq!(meaning("012"), Meaning::Number(12.into()));
        assert_eq!(meaning("0x1F"), Meaning::Number(31.into()));
        assert_eq!(meaning("0o17"), Meaning::Number(15.into()));
        assert!(matches!(meaning("1e3"), Meaning::Number(_)));
        assert!(matches!(meaning("-.5"), Meaning::Number(_)));
    }

    #[test]
    fn other_plain_texts_are_texts() {
        let texts = [
            "yes", "off", "1_000", "0x", "0x+1", "-", ".", "1.2.3", "10s", ".inf", "infinity",
            "nan", "e", "-0x1",
        ];
        for text in texts {
            assert_eq!(meaning(text), Meaning::Text, "{text}");
        }
    }

    #[test]
    fn a_quoted_text_is_a_text() {
        let scalar = Scalar { text: "12".to_owned(), written: None, plain: false };
        assert_eq!(scalar.meaning(), Meaning::Text);
    }
}
