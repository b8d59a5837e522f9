//! From YAML text to a [`Document`]: the parser's events, put together.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::diagnostics::Diagnostics;
use super::environment::{Environment, substitute};
use super::located::{Document, Entry, Node, Scalar, Value};
use super::source::{Source, Span};
use super::{characters, syntax};

/// Nesting depth of mappings and lists. The model itself is six deep; the rest
/// is for request templates.
const MAX_DEPTH: usize = 32;

/// Limit of the nodes of all aliases together. Keeps a few lines from growing
/// into millions of nodes.
const MAX_ALIASED: usize = 50_000;

/// Reads the text of `source`. `None` where it isn't one YAML document, which
/// is then reported.
pub(super) fn read(
    source: &Arc<Source>,
    environment: Environment<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Document> {
    if !characters::check(source, diagnostics) {
        return None;
    }
    let mut reader = Reader {
        places: Places::new(source),
        environment,
        diagnostics,
        open: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(source.text());
    let mut documents = 0;
    loop {
        let (event, span) = match parser.next_event() {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                let at = reader.places.byte(error.marker().index());
                syntax::report(at, error.info(), source, reader.diagnostics);
                return None;
            }
            None => break,
        };
        let span = reader.places.span(&span);
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if documents > 0 => {
                reader.diagnostics.error(
                    span,
                    "a second document begins here",
                    "keep everything in one document, without `---` lines between",
                );
                break;
            }
            Event::DocumentStart(_) => documents += 1,
            event => reader.take(event, span).ok()?,
        }
    }
    let root = reader.root.filter(|root| !root.is_absent());
    let Some(root) = root else {
        diagnostics.error(
            Span::default(),
            "the file is empty",
            "the least it needs is `auth: { none: {} }` and `edge: { listen: \"127.0.0.1:8080\" }`",
        );
        return None;
    };
    Some(Document { source: Arc::clone(source), root })
}

/// Reading can't go on; the reason has been reported.
struct Stop;

/// A mapping or a list that is not closed yet.
struct Open {
    span: Span,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Mapping { entries: Vec<Entry>, seen: HashMap<String, Span>, key: Option<Key> },
}

/// A key whose value is still to come.
enum Key {
    Good {
        key: String,
        written: String,
        span: Span,
    },
    /// Reported; its value is read and dropped.
    Bad,
}

struct Reader<'r> {
    places: Places<'r>,
    environment: Environment<'r>,
    diagnostics: &'r mut Diagnostics,
    /// Open mappings and lists, the innermost last.
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    /// Nodes of all aliases so far.
    aliased: usize,
    root: Option<Arc<Node>>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = self.is_text_by_tag(tag.as_deref(), span);
                let plain = style == ScalarStyle::Plain && !as_text;
                // An empty plain scalar has no text of its own to point at.
                let empty = style == ScalarStyle::Plain && text.is_empty();
                let span = if empty { Span::new(span.start, span.start) } else { span };
                let node = self.scalar(&text, plain, span);
                self.close(anchor, node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text_by_tag(tag.as_deref(), span);
                self.begin(Open { span, anchor, content: Content::List(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text_by_tag(tag.as_deref(), span);
                let content =
                    Content::Mapping { entries: Vec::new(), seen: HashMap::new(), key: None };
                self.begin(Open { span, anchor, content })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let span = self.places.source.first_line(Span::new(open.span.start, span.end));
                    let node = match open.content {
                        Content::List(items) => Node::list(span, items),
                        Content::Mapping { entries, .. } => Node::mapping(span, entries),
                    };
                    self.close(open.anchor, node);
                }
            }
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            self.too_deep(open.span);
            return Err(Stop);
        }
        self.open.push(open);
        Ok(())
    }

    fn too_deep(&mut self, span: Span) {
        self.diagnostics.error(
            span,
            format!("nested more than {MAX_DEPTH} levels deep"),
            "nothing in this file needs that many",
        );
    }

    /// A scalar with its variables replaced.
    fn scalar(&mut self, text: &str, plain: bool, span: Span) -> Node {
        match substitute(text, self.environment) {
            Ok(filled) => {
                let written = filled.substituted.then(|| text.to_owned());
                let text = filled.text.into_owned();
                Node::scalar(span, Scalar { text, written, plain })
            }
            Err(failures) => {
                for failure in failures {
                    // If the text is in the file literally, only the part is marked.
                    let at = self.places.source.slice(span).find(failure.part);
                    let span = at.map_or(span, |at| {
                        Span::new(span.start + at, span.start + at + failure.part.len())
                    });
                    self.diagnostics.error(span, failure.message, failure.help);
                }
                Node::bad(span)
            }
        }
    }

    /// Whether a tag makes its node a text; reports other tags.
    fn is_text_by_tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        match tag {
            None => false,
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => true,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
            Some(_) => {
                self.diagnostics.error(span, "a tag of unknown meaning", "leave the tag out");
                false
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            self.diagnostics.error(
                span,
                "an alias for something that it is itself a part of",
                "write the value out",
            );
            self.put(Arc::new(Node::bad(span)));
            return Ok(());
        };
        self.aliased = self.aliased.saturating_add(node.size);
        if self.aliased > MAX_ALIASED {
            self.diagnostics.error(
                span,
                format!("the aliases up to here stand for more than {MAX_ALIASED} values"),
                "write the values out, or use fewer of them",
            );
            return Err(Stop);
        }
        if self.open.len() + node.height > MAX_DEPTH {
            self.too_deep(span);
            return Err(Stop);
        }
        self.put(node);
        Ok(())
    }

    /// A node is complete: remembers its anchor and puts it where it belongs.
    fn close(&mut self, anchor: usize, node: Node) {
        let node = Arc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.put(node);
    }

    /// Puts a node into the innermost open mapping or list.
    fn put(&mut self, node: Arc<Node>) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Mapping { entries, seen, key } => match key.take() {
                None => *key = Some(accept_key(&node, seen, self.diagnostics)),
                Some(Key::Bad) => {}
                Some(Key::Good { key, written, span }) => {
                    entries.push(Entry { key, written, key_span: span, value: node });
                }
            },
        }
    }
}

/// Converts a node to a mapping's key; reports an invalid or duplicate one.
fn accept_key(node: &Node, seen: &mut HashMap<String, Span>, diagnostics: &mut Diagnostics) -> Key {
    let scalar = match &node.value {
        Value::Scalar(scalar) => scalar,
        Value::Bad => return Key::Bad,
        Value::List(_) | Value::Mapping(_) => {
            diagnostics.error(
                node.span,
                "a key must be a text",
                "if this is a variable, put quotes around it: \"${NAME}\"",
            );
            return Key::Bad;
        }
    };
    if scalar.plain && scalar.text == "<<" {
        diagnostics.error(
            node.span,
            "merging mappings with `<<` is not supported",
            "write the keys out, or use an alias for a whole value",
        );
        return Key::Bad;
    }
    if let Some(first) = seen.get(&scalar.text) {
        diagnostics
            .error(
                node.span,
                format!("the key `{}` is here twice", scalar.shown().escape_debug()),
                "keep one of them",
            )
            .note(*first, "the first one is here");
        return Key::Bad;
    }
    seen.insert(scalar.text.clone(), node.span);
    Key::Good { key: scalar.text.clone(), written: scalar.shown().to_owned(), span: node.span }
}

/// Turns the parser's places, which count characters, into bytes.
struct Places<'s> {
    source: &'s Source,
    /// Where each character begins; empty where every character is one byte.
    characters: Vec<usize>,
}

impl<'s> Places<'s> {
    fn new(source: &'s Source) -> Self {
        let text = source.text();
        let characters = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at).collect()
        };
        Places { source, characters }
    }

    fn byte(&self, character: usize) -> usize {
        let end = self.source.text().len();
        if self.characters.is_empty() {
            character.min(end)
        } else {
            self.characters.get(character).copied().unwrap_or(end)
        }
    }

    /// The first line of a place: a mark can't be drawn over several lines.
    fn span(&self, span: &saphyr_parser::Span) -> Span {
        let start = self.byte(span.start.index());
        self.source.first_line(Span::new(start, self.byte(span.end.index())))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::config::testing::{complaint, complaints, config, read, with_basics};

    #[test]
    fn a_key_that_is_there_twice_is_refused_and_the_first_place_named() {
        let complaint = complaint(&with_basics("log: { level: info }\nlog: {}\n"));
        assert!(complaint.starts_with("t.yaml:4:1: the key `log` is here twice"), "{complaint}");
        assert!(complaint.contains("(3:1)"), "{complaint}");
    }

    #[test]
    fn the_places_of_characters_of_several_bytes_are_right() {
        let complaint = complaint(&with_basics("# é 中 😀\r\nlog: { \"é\": 1 }\r\n"));
        assert!(complaint.starts_with("t.yaml:4:8: unknown key `é`"), "{complaint}");
    }

    #[test]
    fn an_alias_stands_for_its_value() {
        let text =
            "upstreams:\n  a: { address: http://a:1 }\n  b: &b { address: http://b:1 }\n  c: *b\n";
        assert_eq!(config(text).upstreams["c"].address, ["http://b:1"]);
    }

    #[test]
    fn a_mistake_that_an_alias_repeats_is_reported_once() {
        let text = "upstreams:\n  a: &a { address: a }\n  b: *a\n  c: *a\n";
        assert!(
            complaint(&with_basics(text)).starts_with("t.yaml:4:20: `address`: `a` has no scheme")
        );
    }

    #[test]
    fn aliases_cannot_grow_without_bounds() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
        }
        let (loaded, diagnostics) = read(&text);
        assert!(loaded.is_none());
        let lines: Vec<String> = diagnostics.lines().collect();
        assert!(lines[0].contains("the aliases up to here stand for more than"), "{lines:?}");
    }

    #[test]
    fn an_alias_for_what_it_is_part_of_is_refused() {
        let complaints = complaints(&with_basics("upstreams: &u { a: *u }\n"));
        assert!(
            complaints[0].starts_with("t.yaml:3:20: an alias for something that it is itself"),
            "{complaints:?}"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(10_000)] {
            let (loaded, diagnostics) = read(&text);
            assert!(loaded.is_none());
            let line = diagnostics.lines().next().unwrap();
            assert!(line.contains("nested more than"), "{line}");
        }
    }

    #[test]
    fn a_file_without_content_is_told_so() {
        for text in ["", "\n\n", "# nothing\n", "---\n", "null\n", "\u{feff}"] {
            assert!(complaint(text).contains("the file is empty"), "{text:?}");
        }
    }

    #[test]
    fn a_second_document_does_not_hide_what_is_wrong_with_the_first() {
        let complaints = complaints(&with_basics("logs: {}\n---\nlog: {}\n"));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn keys_may_hold_variables() {
        let text =
            "upstreams: { a: { address: http://a:1, routes: { \"/v${PORT}/x\": pb.A/B } } }\n";
        assert!(config(text).upstreams["a"].routes.contains_key("/v64/x"));
    }

    #[test]
    fn a_tab_is_found_where_it_stands() {
        assert!(complaint("edge:\n\tlisten: x\n").starts_with("t.yaml:2:1: a tab"));
        assert!(complaint("edge:\n  path: /\n\tlisten: x\n").starts_with("t.yaml:3:1: a tab"));
    }

    #[test]
    fn what_is_not_yaml_is_explained() {
        let texts = [
            ("edge: { listen: ${A} }\n", "a variable needs quotes"),
            ("edge:\n  - a\n b: c\n", "does not align"),
            ("edge:\n  listen: a: b\n", "a `:` where no key can be"),
            ("edge: *nothing\n", "an alias without an anchor"),
            ("edge: @x\n", "not YAML"),
            ("edge: \"x\n", "not YAML"),
            ("edge: [a, b\n", "not YAML"),
        ];
        for (text, words) in texts {
            let complaint = complaint(text);
            assert!(complaint.contains(words), "{text:?}: {complaint}");
        }
    }
}
