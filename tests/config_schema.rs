//! The JSON Schema and the reader agree: an independent validator and the
//! gateway accept and refuse the same files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use bridgehead::config;
use jsonschema::Validator;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

const FULL: &str = include_str!("config/full.yaml");
const EXAMPLE: &str = include_str!("../routes.yaml");

fn unset(_: &str) -> Option<String> {
    None
}

/// The file as an editor sees it, with variables as they are written.
fn json_of(text: &str) -> Value {
    fn convert(yaml: &Yaml<'_>) -> Value {
        match yaml {
            Yaml::Value(Scalar::Null) => Value::Null,
            Yaml::Value(Scalar::Boolean(value)) => json!(value),
            Yaml::Value(Scalar::Integer(value)) => json!(value),
            Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
            Yaml::Value(Scalar::String(value)) => json!(value),
            Yaml::Sequence(items) => items.iter().map(convert).collect(),
            Yaml::Mapping(entries) => {
                let entry = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
                    (key.as_str().unwrap().to_owned(), convert(value))
                };
                Value::Object(entries.iter().map(entry).collect())
            }
            other => panic!("{other:?}"),
        }
    }
    convert(&Yaml::load_from_str(text).unwrap()[0])
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&config::schema()).unwrap()
}

/// The gateway's errors about a document; empty: none.
fn gateway_complains(document: &Value) -> Vec<String> {
    // JSON is YAML.
    let text = serde_json::to_string_pretty(document).unwrap();
    let (_, diagnostics) = config::parse_text("document", &text, &unset);
    let errors = diagnostics.iter().filter(|one| one.severity() == config::Severity::Error);
    errors.map(|one| one.message().to_owned()).collect()
}

/// The full file with each way to verify logins, and to log in to NATS.
fn full_documents() -> Vec<Value> {
    let full = json_of(FULL);
    let call = full["hooks"]["connected"].clone();
    let (issuer, url) = ("https://id.example.com", "https://id.example.com/jwks.json");
    let jwt = json!({ "keys": url, "ca": "ca.pem", "issuer": issuer, "audience": "y", "user_claim": "sub" });
    let user = json!({ "user": "u", "password": "p" });
    let mut documents = [
        (json!({ "none": { "insecure": true } }), user),
        (json!({ "rpc": call }), json!({ "token": "t" })),
        (json!({ "jwt": jwt }), json!({ "credentials": "gateway.creds" })),
        (json!({ "jwt": { "secret": "secret.txt", "issuer": issuer } }), json!({})),
    ]
    .map(|(auth, nats)| {
        let mut document = full.clone();
        let section = document["auth"].as_object_mut().unwrap();
        section.remove("none");
        section.extend(auth.as_object().unwrap().clone());
        let cluster = document["cluster"].as_object_mut().unwrap();
        cluster.retain(|key, _| key != "user" && key != "password");
        cluster.extend(nats.as_object().unwrap().clone());
        document
    })
    .to_vec();
    documents.push(otherwise(&full));
    documents
}

/// The full file with the other form of keys that have two forms.
fn otherwise(full: &Value) -> Value {
    let mut document = full.clone();
    let edge = document["edge"].as_object_mut().unwrap();
    edge.remove("path");
    edge.insert("paths".to_owned(), json!({ "/ws": {}, "/ws2": { "server_iv": true } }));
    document["session"]["one_session_per"] = json!({ "phone": ["ios"], "room": ["tv"] });
    document
}

#[test]
fn the_schema_is_a_schema() {
    let schema = config::schema();
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["title"].is_string() && schema["$id"].is_string());
    let text = schema.to_string();
    for own in ["x-form", "x-secret", "x-stand-in"] {
        assert!(!text.contains(&format!("\"{own}\":")), "own keywords stay at home");
    }
}

#[test]
fn the_example_is_free_of_errors_and_warnings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = config::parse("routes.yaml", EXAMPLE, folder, &unset).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let errors: Vec<String> =
        validator().iter_errors(&json_of(EXAMPLE)).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn every_key_is_accepted_by_the_gateway_and_by_the_schema() {
    let validator = validator();
    for document in full_documents() {
        assert_eq!(gateway_complains(&document), Vec::<String>::new());
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn the_full_file_has_every_key_of_the_schema_and_no_other() {
    let mut written = BTreeSet::new();
    for document in full_documents() {
        paths_of_document(&document, "", &mut written);
    }
    let mut known = BTreeSet::new();
    let schema = config::schema();
    paths_of_schema(&schema, &schema, "", &mut known);
    assert_eq!(written, known);
}

fn paths_of_document(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    let Value::Object(map) = value else { return };
    if [".request", ".accept_when", ".reject_when"].iter().any(|free| path.ends_with(free)) {
        return;
    }
    for (key, value) in map {
        let named = is_named(path);
        let path = format!("{path}.{}", if named { "*" } else { key });
        if !named {
            paths.insert(path.clone());
        }
        paths_of_document(value, &path, paths);
    }
}

/// Whether the keys there are names of the operator's choice.
fn is_named(path: &str) -> bool {
    [".upstreams", ".tracing.headers", ".edge.paths", ".session.one_session_per"].contains(&path)
        || [".routes", ".metadata.set"].iter().any(|end| path.ends_with(end))
}

fn paths_of_schema(schema: &Value, root: &Value, path: &str, paths: &mut BTreeSet<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        paths_of_schema(root.pointer(&target[1..]).unwrap(), root, path, paths);
    }
    for list in ["anyOf", "oneOf"] {
        for kind in schema[list].as_array().into_iter().flatten() {
            paths_of_schema(kind, root, path, paths);
        }
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        paths.insert(path.clone());
        paths_of_schema(property, root, &path, paths);
    }
    if schema["additionalProperties"].is_object() {
        paths_of_schema(&schema["additionalProperties"], root, &format!("{path}.*"), paths);
    }
}

/// Every pointer to a value below the root.
fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    // Sixteen statuses, twice, all alike.
    if pointer.contains("/error_codes/") && !pointer.ends_with("/NOT_FOUND") {
        found.pop();
        return;
    }
    let mut below = |step: &str, value: &Value| {
        let pointer = format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"));
        found.push(pointer.clone());
        pointers(value, &pointer, found);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value));
        }
        _ => {}
    }
}

/// Each value of the full documents replaced by one of another shape.
fn changed_documents(shapes: &[Value]) -> Vec<(String, Value)> {
    let mut changed = Vec::new();
    for (at, document) in full_documents().into_iter().enumerate() {
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        // The documents differ in these sections only.
        let differs = ["/auth", "/edge/paths", "/session/one_session_per"];
        found.retain(|pointer| at == 0 || differs.iter().any(|it| pointer.starts_with(it)));
        for pointer in found {
            for shape in shapes {
                let mut document = document.clone();
                *document.pointer_mut(&pointer).unwrap() = shape.clone();
                changed.push((format!("{pointer} = {shape}"), document));
            }
        }
    }
    changed
}

#[test]
fn values_of_a_wrong_shape_are_judged_alike() {
    let validator = validator();
    let shapes =
        [json!(null), json!(true), json!([]), json!({ "nonsense": 1 }), json!(-1), json!(1.5)];
    for (change, document) in changed_documents(&shapes) {
        let complaints = gateway_complains(&document);
        // Beyond a schema: the remaining keys no longer fit together.
        let together = [
            "there is no upstream",
            "turns every client away",
            "refuses every load balancer",
            "can be reached",
            "beside it",
        ];
        if complaints.iter().any(|one| together.iter().any(|words| one.contains(words))) {
            continue;
        }
        assert_eq!(
            validator.is_valid(&document),
            complaints.is_empty(),
            "{change}: {complaints:?}"
        );
    }
}

#[test]
fn the_schema_is_never_stricter_than_the_gateway() {
    let validator = validator();
    let shapes = [
        "",
        "x",
        "a b",
        "5s",
        "10",
        "1MiB",
        "/x",
        "http://x:1",
        "127.0.0.1:1",
        "pb.A/B",
        "info",
        "1e3",
    ];
    for (change, document) in changed_documents(&shapes.map(|text| json!(text))) {
        if !validator.is_valid(&document) {
            assert!(!gateway_complains(&document).is_empty(), "{change}");
        }
    }
}

#[test]
fn a_misspelt_key_is_refused_by_both_wherever_it_stands() {
    let validator = validator();
    for document in full_documents() {
        let mut found = vec![String::new()];
        pointers(&document, "", &mut found);
        for pointer in found {
            let free = ["/request", "/accept_when", "/reject_when"];
            let free = free.iter().any(|free| pointer.contains(free));
            let named = is_named(&pointer.replace('/', "."));
            let mut document = document.clone();
            let Some(Value::Object(map)) = document.pointer_mut(&pointer) else { continue };
            if free || named {
                continue;
            }
            map.insert("lisetn".to_owned(), json!("127.0.0.1:1"));
            assert!(!validator.is_valid(&document), "{pointer}");
            assert!(!gateway_complains(&document).is_empty(), "{pointer}");
        }
    }
}

#[test]
fn a_variable_may_stand_for_any_scalar() {
    let validator = validator();
    for document in full_documents() {
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        for pointer in found {
            let mut changed = document.clone();
            let place = changed.pointer_mut(&pointer).unwrap();
            let default = match &*place {
                Value::Object(_) | Value::Array(_) | Value::Null => continue,
                Value::String(text) if text.contains('}') => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            *place = json!(format!("${{NAME:-{default}}}"));
            assert!(validator.is_valid(&changed), "{pointer}");
            assert_eq!(gateway_complains(&changed), Vec::<String>::new(), "{pointer}");
        }
    }
}

#[test]
fn keys_are_described_and_defaults_are_told() {
    fn described(schema: &Map<String, Value>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_status = key.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            assert!(is_status || property["description"].is_string(), "{key}: {property}");
        }
    }
    let schema = config::schema();
    described(schema.as_object().unwrap());
    for definition in schema["$defs"].as_object().unwrap().values() {
        if definition["properties"].is_object() {
            described(definition.as_object().unwrap());
        }
    }
    let session = &schema["$defs"]["SessionConfig"]["properties"];
    assert_eq!(session["login_timeout"]["default"], "30m");
    assert_eq!(session["outbox"]["default"], "1MiB");
    assert_eq!(session["one_session_per"]["default"], "device");
    assert_eq!(
        schema["$defs"]["UpstreamConfig"]["properties"]["descriptors"]["default"],
        "reflection"
    );
}
