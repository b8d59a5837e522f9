//! The effective configuration: the file with its defaults and variables filled
//! in, without its secrets.
//!
//! It is made from the document and the schema rather than from the model, so
//! that the output has the keys and the forms of the file, and values that the
//! schema marks as secrets never get into it. The output can be read again: it
//! differs from the file in masked secrets only.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::diagnostics::Diagnostics;
use super::edge::DEFAULT_PATH;
use super::forms;
use super::located::{Document, Node, Value};
use super::masking;
use super::schema::{self, allows, alternatives};
use super::structure;
use super::units::Size;

/// Stands in place of a secret.
const MASK: &str = "********";

/// The document with defaults, as YAML. Relative paths start at `folder`.
pub(super) fn print(document: &Document, folder: &Path) -> String {
    let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned());
    // Mistakes were reported when the document was read.
    let mut said = Diagnostics::new(document.source.clone());
    let mut json = structure::check(document, &folder, &mut said).json.unwrap_or_default();
    // No default of the schema, as `paths` may stand in its place.
    if let Some(all) = json.as_object_mut()
        && let Some(edge) = all.entry("edge").or_insert_with(|| Map::new().into()).as_object_mut()
        && !edge.contains_key("paths")
    {
        edge.entry("path").or_insert_with(|| DEFAULT_PATH.into());
    }
    let mut whole = complete(json, schema::model(), Some(&document.root));
    leave_out_client_address(&mut whole, document);
    // A tree of texts, numbers and booleans can always be serialized.
    yaml_serde::to_string(&whole).unwrap_or_default()
}

/// Leaves the default of `edge.client_address` out where it has no effect, since a
/// file that names it then gets a warning.
fn leave_out_client_address(whole: &mut Json, document: &Document) {
    let path = ["edge", "client_address"];
    let is_named = document.find(&path).is_some_and(|node| !node.is_absent());
    let Some(edge) = whole.get_mut("edge").and_then(Json::as_object_mut) else { return };
    let proxies = edge.get("trusted_proxies").and_then(Json::as_array);
    if !is_named && proxies.is_none_or(Vec::is_empty) {
        edge.shift_remove("client_address");
    }
}

/// A value of `schema` with its omitted parts filled in. `node` is the file's
/// node in its place.
fn complete(json: Json, schema: &Json, node: Option<&Node>) -> Json {
    let kinds = alternatives(schema);
    let fits = |kind: &&&Json| match &json {
        Json::Object(_) => allows(kind, "object"),
        Json::Array(_) => allows(kind, "array"),
        _ => !allows(kind, "object") && !allows(kind, "array"),
    };
    let kind = kinds.iter().find(fits).copied().unwrap_or(schema);
    match json {
        Json::Object(map) => Json::Object(mapping(map, kind, node)),
        Json::Array(items) => {
            let below = kind.get("items").unwrap_or(&Json::Null);
            let nodes = match node.map(|node| &node.value) {
                Some(Value::List(nodes)) if nodes.len() == items.len() => nodes.as_slice(),
                _ => &[],
            };
            let items = items.into_iter().enumerate();
            Json::Array(
                items
                    .map(|(nth, item)| complete(item, below, nodes.get(nth).map(|node| &**node)))
                    .collect(),
            )
        }
        Json::String(_) if kinds.iter().any(|kind| is_secret(kind)) => MASK.into(),
        Json::String(text) => literal(&text).into(),
        Json::Number(number) if is_size(kind) && number.is_u64() => {
            Size::format(number.as_u64().unwrap_or_default()).into()
        }
        other => other,
    }
}

fn mapping(mut map: Map<String, Json>, schema: &Json, node: Option<&Node>) -> Map<String, Json> {
    let below = |key: &str| Some(&*node?.entry(key)?.value);
    let mut whole = Map::new();
    let properties = schema.get("properties").and_then(Json::as_object);
    for (key, property) in properties.into_iter().flatten() {
        let value = match map.shift_remove(key) {
            Some(value) => Some(complete(value, property, below(key))),
            None => default(property).map(|value| complete(value, property, None)),
        };
        whole.extend(value.map(|value| (key.clone(), value)));
    }
    // Names of the user's own.
    for (key, value) in map {
        let value = match schema.get("additionalProperties") {
            Some(values @ Json::Object(_)) => complete(value, values, below(&key)),
            // JSON of any shape, such as a request. Variables stay unreplaced,
            // as no schema says which of them are secrets.
            _ => below(&key).map_or(Json::Null, as_written),
        };
        whole.insert(literal(&key), value);
    }
    whole
}

/// The default of an omitted key; `None` if it has none.
fn default(schema: &Json) -> Option<Json> {
    match schema.get("default") {
        Some(Json::Null) => return None,
        Some(default) => return Some(default.clone()),
        None => {}
    }
    // A section whose keys all have defaults, unless it is optional.
    let is_option = ["anyOf", "oneOf"].iter().any(|list| schema.get(*list).is_some());
    let resolved = schema::resolve(schema);
    let is_section = resolved.get("properties").is_some() && resolved.get("required").is_none();
    let is_whole = !is_option && is_section && schema::exactly_one(resolved).is_none();
    is_whole.then(|| Json::Object(Map::new()))
}

/// A part of the document as the file has it.
fn as_written(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) => match &scalar.written {
            Some(written) => masked(written).into(),
            None => match structure::free(node) {
                Some(Json::String(text)) => literal(&text).into(),
                other => other.unwrap_or_default(),
            },
        },
        Value::List(items) => Json::Array(items.iter().map(|item| as_written(item)).collect()),
        Value::Mapping(entries) => {
            let entry =
                |entry: &super::located::Entry| (literal(&entry.key), as_written(&entry.value));
            Json::Object(entries.iter().map(entry).collect())
        }
        Value::Bad => Json::Null,
    }
}

/// A text escaped so that it is read again as the same, with its secrets masked.
fn literal(text: &str) -> String {
    masked(text).replace("${", "$${")
}

/// A text without the keys and logins in it.
fn masked(text: &str) -> String {
    let mut hidden: Vec<_> = masking::all(text).collect();
    hidden.sort_by_key(|range| range.start);
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for range in hidden {
        if range.start >= end {
            shown.push_str(text.get(end..range.start).unwrap_or_default());
            // The same length for every secret.
            shown.push_str(MASK);
        }
        end = end.max(range.end);
    }
    shown.push_str(text.get(end..).unwrap_or_default());
    shown
}

fn is_secret(schema: &Json) -> bool {
    schema.get(schema::SECRET) == Some(&Json::Bool(true))
}

fn is_size(schema: &Json) -> bool {
    schema.get(forms::KEYWORD).and_then(Json::as_str) == Some(Size::FORM.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::testing::{environment, with_basics};
    use crate::config::{Diagnostic, Loaded, Severity, parse_text, parse_tolerant};

    fn read(text: &str) -> Loaded {
        let (loaded, diagnostics) = parse_text("t.yaml", text, &environment);
        assert!(!diagnostics.has_errors(), "{diagnostics}\n{text}");
        loaded.unwrap()
    }

    /// The output for a text; checks that it is read again as the same.
    fn printed(text: &str) -> String {
        let first = read(text);
        let printed = first.effective();
        let second = read(&printed);
        assert_eq!(second.effective(), printed);
        printed
    }

    #[test]
    fn defaults_and_variables_are_filled_in() {
        let text = printed(&with_basics(
            "session: { max_in_flight: \"${PORT}\" }\nupstreams:\n  a: { address: http://a:1, routes: { /x: pb.A/B, /y: { rpc: pb.A/C } } }\n",
        ));
        for line in [
            "  listen: 127.0.0.1:0",
            "  max_message: 1MiB",
            "  max_in_flight: 64",
            "  ping_interval: 25s",
            "- '**/white/**'",
            "    descriptors: reflection",
            "      authorization: pass",
            "      /x: pb.A/B",
            "        retry: false",
            "  grace: 1m",
            "  level: info",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("cluster") && !text.contains("null"), "{text}");
    }

    #[test]
    fn no_secret_is_printed() {
        let text = printed(&with_basics(
            "push: { tokens: [literal-token, { token: other-token }, '${SECRET}'] }\n\
             cluster: { nats: ['nats://me:hunter2@n:1', 'nats://${SECRET}:${SECRET}@n:2', 'nats://$${a}:$${b}@n'], token: nats-token }\n\
             tracing: { otlp: http://c:1, headers: { x-api-key: otlp-key } }\n\
             hooks: { connected: { upstream: a, rpc: pb.A/B, request: { key: '${SECRET}', list: ['${SECRET}'] } } }\n\
             upstreams: { a: { address: http://a:1, metadata: { set: { x-key: api-key-1, x-file: { file: f } } } } }\n",
        ));
        let secrets = [
            "literal-token",
            "other-token",
            "hunter2",
            "nats-token",
            "otlp-key",
            "api-key-1",
            "{a}",
            "{b}",
        ];
        for secret in secrets {
            assert!(!text.contains(secret), "{secret}\n{text}");
        }
        assert!(text.contains("nats://********@n:1"), "{text}");
        assert!(text.contains("key: ${SECRET}"), "{text}");
    }

    #[test]
    fn a_default_without_effect_is_left_out() {
        let is_printed = |edge: &str| {
            let text = format!("auth: {{ none: {{}} }}\nedge: {{ listen: 127.0.0.1:0{edge} }}\n");
            read(&text).effective().contains("client_address")
        };
        assert!(!is_printed(""));
        assert!(is_printed(", trusted_proxies: [10.0.0.1]"));
        assert!(is_printed(", client_address: none"));
    }

    #[test]
    fn texts_that_look_like_something_else_stay_texts() {
        for odd in [
            "1e3",
            "0o7",
            "0x1f",
            ".5",
            "1.",
            "+1",
            "-",
            "null",
            "True",
            "1_000",
            "~",
            "012",
            "-0",
            "1e",
            "yes",
            "a: b",
            "# a",
            "- a",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'",
            "\\\"",
            "é",
            "a\\nb",
            " a ",
            "$${x}",
            "$$${x}",
            "<<",
            "2001-01-01",
            "1:30",
            "\\x1b",
        ] {
            let text =
                with_basics(&format!("tracing: {{ otlp: http://c:1, service_name: \"{odd}\" }}\n"));
            let name = |loaded: &Loaded| loaded.config.tracing.clone().unwrap().service_name;
            let first = read(&text);
            assert_eq!(name(&read(&first.effective())), name(&first), "{odd}");
        }
    }

    #[test]
    fn the_examples_mean_the_same_when_they_are_read_again() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["routes.yaml", "tests/config/full.yaml"] {
            let text = std::fs::read_to_string(root.join(name)).unwrap();
            let folder = root.join(name).parent().unwrap().to_owned();
            let variables = |name: &str| match name {
                "PUSH_TOKEN" | "API_KEY" => Some("hunter2".to_owned()),
                _ => None,
            };
            let first = parse_tolerant(name, &text, &folder, &variables).0.unwrap();
            let printed = first.effective();
            let again = parse_tolerant("again", &printed, Path::new(""), &|_| None);
            // Missing files are reported again.
            let is_new = |it: &&Diagnostic| {
                it.severity() == Severity::Error && !it.message().contains("there is no file")
            };
            assert_eq!(again.1.iter().filter(is_new).count(), 0, "{}", again.1);
            let second = again.0.unwrap();
            let shown = |loaded: &Loaded| format!("{:#?}", loaded.config);
            assert_eq!(shown(&second), shown(&first));
            assert_eq!(second.effective(), printed);
        }
    }
}
