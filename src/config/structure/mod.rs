//! Checks a document against the schema of the model.
//!
//! Values that fit become JSON that the model can be deserialized from. Others
//! are reported and left out, so that one mistake hides no other.

mod mappings;
mod scalars;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::diagnostics::Diagnostics;
use super::forms::{self, Form};
use super::located::{Document, Meaning, Node, Value};
use super::schema::{self, allows, alternatives, resolve};
use super::source::Span;
use super::words;

/// A document that has been checked against the schema.
pub(super) struct Checked {
    /// The parts of it that fit.
    pub(super) json: Option<Json>,
    /// The files that it names.
    pub(super) files: Vec<FileUse>,
}

/// A file that a document names.
#[derive(Debug)]
pub(super) struct FileUse {
    /// The place of the name.
    pub(super) span: Span,
    /// The key of the name.
    pub(super) key: String,
    /// The name as the document has it.
    pub(super) written: String,
    /// The name with the folder before it.
    pub(super) path: PathBuf,
}

/// Checks `document` against the schema. Relative file names start at `folder`.
pub(super) fn check(document: &Document, folder: &Path, diagnostics: &mut Diagnostics) -> Checked {
    let mut walk = Walk { folder, diagnostics, files: Vec::new() };
    let place = Place { key: "", span: document.root.span, expected: None };
    let json = walk.node(&document.root, schema::model(), &place);
    Checked { json, files: walk.files }
}

/// The position of the walk.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// The nearest key; empty at the root, and where the key itself is checked.
    key: &'p str,
    /// The place for errors if the node itself has no good one.
    span: Span,
    /// The expected values, if there are more alternatives than the current schema.
    expected: Option<&'p str>,
}

impl Place<'_> {
    /// The beginning of an error about a value.
    fn prefix(&self) -> String {
        if self.key.is_empty() {
            String::new()
        } else {
            format!("`{}`: ", words::shorten(self.key))
        }
    }

    /// The name of the value in errors.
    fn name(&self) -> String {
        if self.key.is_empty() {
            "the file".to_owned()
        } else {
            format!("`{}`", words::shorten(self.key))
        }
    }
}

struct Walk<'w> {
    folder: &'w Path,
    diagnostics: &'w mut Diagnostics,
    files: Vec<FileUse>,
}

impl Walk<'_> {
    /// The parts of `node` that fit, as JSON.
    fn node(&mut self, node: &Node, schema: &Json, place: &Place<'_>) -> Option<Json> {
        let kinds = alternatives(schema);
        if kinds.iter().all(|kind| words::choice(kind).is_some()) {
            return self.choice(node, &kinds, place);
        }
        let fits = |kind: &&&Json| match &node.value {
            Value::Bad => false,
            Value::Mapping(_) => allows(kind, "object"),
            Value::List(_) => allows(kind, "array"),
            Value::Scalar(_) => !allows(kind, "object") && !allows(kind, "array"),
        };
        let is_secret = kinds.iter().any(|kind| schema::is_secret(kind));
        if is_secret
            && matches!(&node.value, Value::Scalar(scalar) if scalar.written.is_none() && !scalar.text.is_empty())
        {
            self.diagnostics.source().hide(node.span);
        }
        let Some(&kind) = kinds.iter().find(fits) else {
            let expected = words::nouns(&kinds);
            return match &node.value {
                Value::Scalar(_) if is_secret => {
                    self.mismatch(&words::without_text(node), &expected, place)
                }
                _ => self.mismatch(node, &expected, place),
            };
        };
        let expected = (kinds.len() > 1).then(|| words::nouns(&kinds));
        let place = &Place { expected: expected.as_deref(), ..*place };
        match &node.value {
            Value::Bad => None,
            Value::Mapping(entries) => self.mapping(entries, kind, place),
            Value::List(items) => Some(self.list(items, kind, place)),
            Value::Scalar(_) if words::choice(kind).is_some() => {
                let is_choice = |kind: &&&Json| words::choice(kind).is_some();
                let choices: Vec<&Json> = kinds.iter().filter(is_choice).copied().collect();
                self.choice(node, &choices, place)
            }
            Value::Scalar(scalar) => {
                self.scalar(scalar, kind, &Place { span: node.span, ..*place })
            }
        }
    }

    fn mismatch(&mut self, node: &Node, expected: &str, place: &Place<'_>) -> Option<Json> {
        if matches!(node.value, Value::Bad) {
            return None;
        }
        let expected = place.expected.unwrap_or(expected);
        let message =
            format!("{}expected {expected}, found {}", place.prefix(), words::found(node));
        let help = words::way_out(node, expected);
        let span = if matches!(node.value, Value::Scalar(_)) { node.span } else { place.span };
        self.diagnostics.error(span, message, help);
        None
    }

    fn list(&mut self, items: &[Arc<Node>], schema: &Json, place: &Place<'_>) -> Json {
        let item_schema = schema.get("items").unwrap_or(&Json::Bool(true));
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            let place = Place { key: place.key, span: item.span, expected: None };
            if item.is_absent() {
                let message = format!("{}an item of the list is empty", place.prefix());
                self.diagnostics.error(item.span, message, "fill it in or leave it out");
                continue;
            }
            let Some(json) = self.node(item, item_schema, &place) else { continue };
            if schema.get("uniqueItems") == Some(&Json::Bool(true)) && list.contains(&json) {
                let message = format!("{}{} is here twice", place.prefix(), words::repeated(item));
                self.diagnostics.error(item.span, message, "keep one of them");
                continue;
            }
            list.push(json);
        }
        let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            let message = format!("{}the list is empty", place.prefix());
            self.diagnostics.error(place.span, message, "it needs at least one item");
        }
        Json::Array(list)
    }
}

/// JSON of any shape, with YAML's types. `None` if the node is bad.
pub(super) fn free(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Bad => return None,
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => Json::Null,
            Meaning::Boolean(value) => Json::Bool(value),
            Meaning::Number(number) => Json::Number(number),
            Meaning::Text => Json::String(scalar.text.clone()),
        },
        Value::List(items) => Json::Array(items.iter().filter_map(|item| free(item)).collect()),
        Value::Mapping(entries) => Json::Object(
            entries
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), free(&entry.value)?)))
                .collect(),
        ),
    })
}
fn form_of(schema: &Json) -> Option<&'static Form> {
    resolve(schema).get(forms::KEYWORD).and_then(Json::as_str).and_then(forms::find)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::testing::{complaint, complaints, config, read, with_basics};
    use crate::config::{ClientCode, Descriptors, GrpcStatus, Judge, JwtKeys, PathConfig};

    fn complaint_of(text: &str) -> String {
        complaint(&with_basics(text))
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = config("upstreams: { a: { address: http://a:1 } }\n");
        assert_eq!(config.edge.paths(), [("/ws", PathConfig::default())]);
        assert_eq!(config.edge.max_message, 1 << 20);
        assert_eq!(config.edge.max_connections, 100_000);
        assert_eq!(config.edge.max_connections_per_ip, 0);
        assert_eq!(
            config.session.platforms,
            ["ios", "android", "ipad", "web", "macos", "windows", "linux"]
        );
        assert_eq!(config.session.handshake_timeout, Duration::from_secs(10));
        assert_eq!(config.session.login_timeout, Duration::from_mins(30));
        assert_eq!(config.session.ping_interval, Duration::from_secs(25));
        assert_eq!(config.session.pong_timeout, Duration::from_secs(10));
        assert_eq!(config.session.max_in_flight, 128);
        assert_eq!(config.session.outbox, 1 << 20);
        assert_eq!(config.public_methods, ["**/white/**"]);
        assert_eq!(config.identity.request_field, "commonReq");
        assert_eq!(config.identity.response_field, "commonResp");
        assert_eq!(config.auth.grace, Duration::from_mins(1));
        assert_eq!(config.auth.recheck, Duration::ZERO);
        assert!(config.auth.each_request.is_none());
        assert_eq!(config.drain.delay, Duration::from_secs(5));
        assert_eq!(config.drain.period, Duration::from_secs(20));
        assert!(config.push.is_none() && config.admin.is_none() && config.cluster.is_none());
        let upstream = &config.upstreams["a"];
        assert_eq!(upstream.descriptors, Descriptors::Reflection);
        assert_eq!(upstream.timeout, Duration::from_secs(5));
        assert_eq!(upstream.connections, 2);
        assert!(!upstream.expose_errors);
    }

    #[test]
    fn a_route_is_a_text_or_a_mapping() {
        let config = config(
            "upstreams:\n  a:\n    address: http://a:1\n    routes:\n      /x: pb.A/B\n      /y: { rpc: pb.A/C, timeout: 2s, public: false, retry: true, error_codes: { NOT_FOUND: ToastError } }\n",
        );
        let routes = &config.upstreams["a"].routes;
        assert_eq!(routes["/x"].rpc, "pb.A/B");
        assert_eq!(routes["/x"].timeout, None);
        assert_eq!(routes["/y"].timeout, Some(Duration::from_secs(2)));
        assert_eq!(routes["/y"].public, Some(false));
        assert!(routes["/y"].retry);
        assert_eq!(routes["/y"].error_codes[&GrpcStatus::NotFound], ClientCode::ToastError);
    }

    #[test]
    fn upstreams_and_routes_keep_the_order_of_the_file() {
        let config = config(
            "upstreams:\n  z: { address: http://z:1, routes: { /b: p.A/B, /a: p.A/B } }\n  a: { address: http://a:1 }\n",
        );
        assert_eq!(config.upstreams.keys().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(config.upstreams["z"].routes.keys().collect::<Vec<_>>(), ["/b", "/a"]);
    }

    #[test]
    fn a_variable_is_typed_by_what_is_expected() {
        let config = config(
            "session: { max_in_flight: \"${PORT}\", require_encryption: \"${NO:-false}\" }\npublic_methods:\n- /${PORT}\nupstreams:\n  a: { address: http://a:1, connections: \"${PORT}\", expose_errors: \"${TRUE}\", tls: \"${EMPTY}\" }\n",
        );
        assert_eq!(config.session.max_in_flight, 64);
        assert_eq!(config.upstreams["a"].connections, 64);
        assert!(config.upstreams["a"].expose_errors);
        assert_eq!(config.public_methods, ["/64"]);
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        let sample = |text: &str| {
            let text = format!("tracing: {{ otlp: http://c:1, sample: {text} }}\n");
            config(&text).tracing.unwrap().sample.to_string()
        };
        for (written, read) in [("0", "0"), ("1", "1"), ("0.25", "0.25"), ("1e-3", "0.001")] {
            assert_eq!(sample(written), read);
        }
        assert_eq!(sample("\"${NONE:-0.5}\""), "0.5");
        for (text, complaint) in [
            ("1.5", "`sample`: `1.5` is not a number from 0 to 1; write such as `0.01`"),
            ("-1", "`sample`: `-1` is not a number from 0 to 1; write such as `0.01`"),
            ("1%", "`sample`: `1%` is not a number from 0 to 1; write such as `0.01`"),
            ("\"0.5\"", "`sample`: `0.5` is not a number from 0 to 1; leave out the quotes"),
        ] {
            let said = complaint_of(&format!("tracing: {{ otlp: http://c:1, sample: {text} }}\n"));
            assert!(said.ends_with(complaint), "{said}");
        }
    }

    #[test]
    fn a_number_from_the_environment_may_be_a_text() {
        let config = config(
            "identity:\n  request_field: ${NAME:-null_}\nupstreams:\n  a:\n    address: http://a:1\n    descriptors:\n      - ${PORT}\n",
        );
        assert_eq!(config.upstreams["a"].descriptors, Descriptors::Files(vec!["64".into()]));
    }

    #[test]
    fn an_empty_variable_counts_as_left_out() {
        let config = config("session:\n  private_key: ${EMPTY}\n  ping_interval: ${NONE:-}\n");
        assert_eq!(config.session.private_key, None);
        assert_eq!(config.session.ping_interval, Duration::from_secs(25));
    }

    #[test]
    fn a_template_keeps_the_types_of_yaml() {
        let text = "edge: { listen: 127.0.0.1:0 }\nauth:\n  rpc:\n    upstream: a\n    rpc: p.A/B\n    request: { n: 1, t: \"1\", b: true, z: null, v: ${PORT:-}x, l: [1.5] }\n    accept_when: { code: 0, msg: \"\" }\nupstreams: { a: { address: http://a:1 } }\n";
        let text = text.replace("${PORT:-}x", "\"${PORT}\"");
        let (loaded, diagnostics) = read(&text);
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let Judge::Rpc(call) = loaded.unwrap().config.auth.judge else { panic!() };
        let request =
            serde_json::json!({ "n": 1, "t": "1", "b": true, "z": null, "v": "64", "l": [1.5] });
        assert_eq!(serde_json::Value::Object(call.request), request);
    }

    #[test]
    fn sections_need_exactly_one_way_to_judge_logins() {
        let edge = "edge: { listen: 127.0.0.1:0 }\n";
        assert!(complaint(edge).contains("the file has no `auth`"));
        assert!(complaint(&format!("{edge}auth: {{}}\n")).contains("`auth` says nothing"));
        let none = complaint(&format!("{edge}auth: {{ grace: 5s }}\n"));
        assert!(none.contains("`auth` has none of `jwt`, `rpc` and `none`"), "{none}");
        let both = format!("{edge}auth: {{ none: {{}}, jwt: {{ keys: k }} }}\n");
        assert!(complaint(&both).contains("`auth` has both `none` and `jwt`"));
    }

    #[test]
    fn a_misspelt_required_key_is_one_mistake() {
        let complaint = complaint_of(
            "upstreams: { a: { adress: http://a:1 } }
",
        );
        assert!(
            complaint.ends_with("unknown key `adress`; did you mean `address`?"),
            "{complaint}"
        );
    }

    #[test]
    fn numbers_out_of_range_are_told_the_bound() {
        assert!(
            complaint_of("session: { max_in_flight: 0 }\n")
                .ends_with("`0` is less than 1; write 1 or more")
        );
        assert!(
            complaint_of("session: { max_in_flight: 65537 }\n").ends_with("write 65536 or less")
        );
        assert!(
            complaint_of("session: { outbox: 1KiB }\n")
                .ends_with("`1KiB` is less than 4KiB; write 4KiB or more")
        );
        assert!(
            complaint_of("session: { max_in_flight: -1 }\n")
                .contains("`-1` is not a whole number from 1 to 65536")
        );
        assert!(
            complaint_of("session: { max_in_flight: 1.5 }\n").contains("is not a whole number")
        );
        assert!(
            complaint_of("session: { max_in_flight: \"5\" }\n").ends_with("leave out the quotes")
        );
    }

    #[test]
    fn a_bad_item_does_not_spoil_its_list() {
        let text = with_basics("public_methods: [/a, b, /c]\n");
        let (loaded, diagnostics) = read(&text);
        assert_eq!(diagnostics.errors(), 1);
        assert_eq!(loaded.unwrap().config.public_methods, ["/a", "/c"]);
    }

    #[test]
    fn there_is_a_model_whatever_is_wrong() {
        let (loaded, diagnostics) = read(
            "edge: 5\nsession: []\nauth: { rpc: {} }\nupstreams: { a: { routes: { /x: p.A/B, /y: 5 } }, b: [], c: { address: http://c:1 } }\n",
        );
        assert_eq!(diagnostics.errors(), 7, "{diagnostics}");
        let config = loaded.unwrap().config;
        assert_eq!(config.upstreams.len(), 2);
        assert!(config.upstreams["a"].address.is_empty());
        assert_eq!(config.upstreams["a"].routes.len(), 1);
        let Judge::Jwt(jwt) = config.auth.judge else { panic!() };
        assert_eq!(jwt.keys, Some(JwtKeys::File("".into())));
    }

    #[test]
    fn long_and_odd_values_are_shown_short_and_on_one_line() {
        let complaint =
            complaint_of(&format!("log: {{ level: \"a\\n{}\" }}\n", "x".repeat(10_000)));
        assert!(complaint.len() < 250 && complaint.contains("a\\nx"), "{complaint}");
    }

    #[test]
    fn a_section_without_content_is_warned_of_where_that_may_surprise() {
        let complaints = complaints(&with_basics("admin:\nlog:\n"));
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("warning: `admin` is empty"), "{complaints:?}");
    }
}
