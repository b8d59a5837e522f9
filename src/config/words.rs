//! The words that errors about a file's structure are made of.

use serde_json::Value as Json;

use super::forms;
use super::located::{Meaning, Node, Scalar, Value};
use super::masking;
use super::schema::{self, allows};

/// Characters of a value that an error repeats.
const LONGEST: usize = 60;

/// A scalar in back quotes, as the file has it.
pub(super) fn quoted(scalar: &Scalar) -> String {
    match scalar.shown() {
        "" => "`\"\"`".to_owned(),
        text => format!("`{}`", shorten(text)),
    }
}

/// A text on one line, cut off if it is too long, with its secrets masked.
pub(super) fn shorten(text: &str) -> String {
    let text = &*masking::masked(text);
    if let Some(at) = text.find("-----BEGIN*") {
        return format!("{}-----BEGIN…", shorten(text.get(..at).unwrap_or_default()));
    }
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    // Quotes need no escaping here.
    short = short.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// `a`, `b` and `c`, in back quotes.
pub(super) fn list<'t>(texts: impl Iterator<Item = &'t str>, conjunction: &str) -> String {
    let texts: Vec<String> = texts.map(|text| format!("`{text}`")).collect();
    join(&texts, conjunction)
}

fn join(texts: &[String], conjunction: &str) -> String {
    match texts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
    }
}

/// "one of `a`, `b` and `c`".
pub(super) fn one_of(texts: &[&str]) -> String {
    match texts {
        [only] => format!("`{only}`"),
        _ => format!("one of {}", list(texts.iter().copied(), "and")),
    }
}

/// The texts of a schema that lists its allowed values.
pub(super) fn choice(schema: &Json) -> Option<Vec<&str>> {
    if let Some(text) = schema.get("const").and_then(Json::as_str) {
        return Some(vec![text]);
    }
    schema
        .get("enum")
        .and_then(Json::as_array)
        .map(|texts| texts.iter().filter_map(Json::as_str).collect())
}

/// The noun for the values of a schema, with an article.
pub(super) fn noun(schema: &Json) -> String {
    let bound = |key| schema.get(key).and_then(Json::as_u64);
    if let Some(texts) = choice(schema) {
        return one_of(&texts);
    }
    let form = schema.get(forms::KEYWORD).and_then(Json::as_str).and_then(forms::find);
    if let Some(form) = form {
        return form.noun.to_owned();
    }
    if allows(schema, "integer") {
        return match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            _ => "a whole number".to_owned(),
        };
    }
    if allows(schema, "number") {
        let bound = |key| schema.get(key).and_then(Json::as_f64);
        return match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("a number from {least} to {most}"),
            _ => "a number".to_owned(),
        };
    }
    if allows(schema, "array") {
        let item =
            schema.get("items").and_then(|items| items.get(forms::KEYWORD)).and_then(Json::as_str);
        let form = item.and_then(forms::find);
        return form.map_or("a list".to_owned(), |form| format!("a list of {}", form.plural));
    }
    if let Some(keys) = schema::exactly_one(schema) {
        return format!("a mapping with one of {}", list(keys.into_iter(), "and"));
    }
    let names = [("boolean", "`true` or `false`"), ("object", "a mapping"), ("string", "a text")];
    let name = names.into_iter().find(|(kind, _)| allows(schema, kind));
    name.map_or("a value", |(_, noun)| noun).to_owned()
}

/// The nouns for the values of several alternative schemas.
pub(super) fn nouns(kinds: &[&Json]) -> String {
    if kinds.iter().all(|kind| choice(kind).is_some()) {
        let texts: Vec<&str> = kinds.iter().filter_map(|kind| choice(kind)).flatten().collect();
        return one_of(&texts);
    }
    let nouns: Vec<String> = kinds.iter().map(|kind| noun(kind)).collect();
    join(&nouns, "or")
}

/// The noun for a node, for "found …".
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Scalar(scalar) => match &scalar.written {
            Some(_) => quoted(scalar),
            None => kind_of(&scalar.meaning(), &scalar.text),
        },
        Value::Bad => "nothing".to_owned(),
    }
}

/// A node whose text must not be repeated.
pub(super) fn without_text(node: &Node) -> Node {
    match &node.value {
        Value::Scalar(Scalar { text, plain, .. }) => {
            let written = Some("…".to_owned());
            Node::scalar(node.span, Scalar { text: text.clone(), written, plain: *plain })
        }
        _ => Node::bad(node.span),
    }
}

/// A node that is reported as a duplicate.
pub(super) fn repeated(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => quoted(scalar),
        _ => found(node),
    }
}

/// The noun for a literal text, with the text.
pub(super) fn kind_of(meaning: &Meaning, text: &str) -> String {
    let text = shorten(text);
    match meaning {
        Meaning::Null => "nothing".to_owned(),
        Meaning::Number(_) => format!("the number `{text}`"),
        Meaning::Boolean(_) => format!("`{text}`"),
        Meaning::Text => format!("the text `{text}`"),
    }
}

/// A hint how to turn the node into the expected kind.
pub(super) fn way_out(node: &Node, expected: &str) -> String {
    match &node.value {
        Value::Scalar(scalar) if expected.starts_with("a list") => {
            format!("write it as a list: {}", as_list(scalar))
        }
        Value::Scalar(_) => "write `key: value` lines below it, indented by two spaces".to_owned(),
        Value::Mapping(_) if expected.starts_with("a list") => {
            "begin each item with `- `".to_owned()
        }
        Value::List(_) if expected.starts_with("a mapping") => {
            "write `key: value` lines without `- `".to_owned()
        }
        _ => format!("write {expected}"),
    }
}

/// A scalar as the only item of a list.
pub(super) fn as_list(scalar: &Scalar) -> String {
    format!("`[\"{}\"]`", shorten(scalar.shown()))
}

/// A hint how to turn a scalar into a number or a boolean.
pub(super) fn mend_scalar(scalar: &Scalar, schema: &Json) -> String {
    let text = scalar.text.to_ascii_lowercase();
    let literal = scalar.written.is_none();
    let unquoted = Scalar { text: scalar.text.clone(), written: None, plain: true }.meaning();
    if allows(schema, "boolean") {
        return match text.as_str() {
            "yes" | "on" | "y" | "1" if literal => "write `true`".to_owned(),
            "no" | "off" | "n" | "0" if literal => "write `false`".to_owned(),
            "true" | "false" if literal => "leave out the quotes".to_owned(),
            _ => "write `true` or `false`".to_owned(),
        };
    }
    match unquoted {
        Meaning::Number(number) if literal && number.is_u64() && !scalar.plain => {
            "leave out the quotes".to_owned()
        }
        Meaning::Number(_) if literal && !scalar.plain && allows(schema, "number") => {
            "leave out the quotes".to_owned()
        }
        _ if allows(schema, "number") => "write such as `0.01`".to_owned(),
        _ => "write it in digits only".to_owned(),
    }
}
