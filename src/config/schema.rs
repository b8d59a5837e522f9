//! The JSON Schema of `routes.yaml`, derived from the model.
//!
//! There are two forms of it. [`model`] is the schema that [`super::structure`]
//! checks a file against, with a few keywords of its own. [`schema`] is for editors:
//! it has standard keywords only, and lets a variable stand wherever a value may.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{Config, forms};

/// The schema keyword for the substitute of a missing required value, so that
/// the rest of a file with errors can still be checked.
pub(super) const STAND_IN: &str = "x-stand-in";

/// The schema keyword for a set of keys of which a mapping has exactly one.
pub(super) const EXACTLY_ONE: &str = "x-exactly-one";

/// The keys of which a mapping must have exactly one; `None`: it has no such
/// rule.
pub(super) fn exactly_one(schema: &Value) -> Option<Vec<&str>> {
    let keys = schema.get(EXACTLY_ONE)?.as_array()?;
    Some(keys.iter().filter_map(Value::as_str).collect())
}

/// The schema that files are checked against.
pub(super) fn model() -> &'static Value {
    static MODEL: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Config).to_value());
    &MODEL
}

/// The schema keyword for texts that no message may repeat.
pub(super) const SECRET: &str = "x-secret";

/// The target of `$ref`, or the schema itself.
pub(super) fn resolve(schema: &Value) -> &Value {
    let target =
        schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    target.and_then(|pointer| model().pointer(pointer)).unwrap_or(schema)
}

/// The alternatives of a schema, without `null`; the schema itself where it has none.
pub(super) fn alternatives(schema: &Value) -> Vec<&Value> {
    let schema = resolve(schema);
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    match list {
        None => vec![schema],
        Some(list) => {
            let some = list.iter().filter(|schema| schema.get("type") != Some(&json!("null")));
            some.flat_map(|schema| alternatives(schema)).collect()
        }
    }
}

/// Whether a schema allows values of this type.
pub(super) fn allows(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(types)) => types.iter().any(|one| one == name),
        _ => false,
    }
}

/// Whether a text in the place of this schema may be a secret. Also true if the
/// list's items or the mapping's values are, as one may be written in its place.
pub(super) fn is_secret(schema: &Value) -> bool {
    let schema = resolve(schema);
    let below = ["items", "additionalProperties"].into_iter().filter_map(|key| schema.get(key));
    schema.get(SECRET) == Some(&Value::Bool(true))
        || below.flat_map(alternatives).any(|kind| kind.get(SECRET) == Some(&Value::Bool(true)))
}

/// The JSON Schema (draft 2020-12) of `routes.yaml`, for editors and other
/// tools. Rules beyond a schema, such as names that must exist, are checked
/// when a file is read.
pub fn schema() -> Value {
    let mut schema = model().clone();
    publish(&mut schema);
    let Value::Object(mut body) = schema else { return schema };
    if let Some(definitions) = body.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.insert("Variable".to_owned(), variable());
    }
    body.insert("$id".to_owned(), json!("urn:bridgehead:routes"));
    // People read it from the top.
    let mut root = Map::new();
    for key in ["$schema", "$id", "title", "description"] {
        root.extend(body.shift_remove_entry(key));
    }
    root.extend(body);
    Value::Object(root)
}

fn variable() -> Value {
    json!({
        "description": "A value from the environment: `${NAME}` or `${NAME:-default}`.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    })
}

/// Turns a schema of the model, and those within it, into its published form.
fn publish(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    for own in [forms::KEYWORD, STAND_IN, SECRET, "format"] {
        schema.shift_remove(own);
    }
    let choice: Vec<String> = match schema.shift_remove(EXACTLY_ONE) {
        Some(Value::Array(keys)) => {
            keys.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    if schema.get("default") == Some(&Value::Null) {
        schema.shift_remove("default");
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        // Single line breaks are only how the source is wrapped.
        *description = description.replace("\n\n", "\0").replace('\n', " ").replace('\0', "\n\n");
    }
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(Value::Array(list)) = schema.get_mut(alternatives) {
            list.iter_mut().for_each(publish);
        }
    }
    let required: Vec<Value> =
        schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (key, property) in properties {
            // The one key of a choice that is present must have a value.
            let chosen = choice.contains(key);
            if chosen {
                require(property);
            }
            publish(property);
            let optional = !chosen && !required.iter().any(|name| name == key);
            widen(property, optional);
        }
    }
    if !choice.is_empty() {
        let alternatives = choice.iter().map(|key| json!({ "required": [key] })).collect();
        schema.insert("oneOf".to_owned(), Value::Array(alternatives));
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            publish(below);
            widen(below, false);
        }
    }
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        definitions.values_mut().for_each(publish);
    }
    if let Some(names) = schema.get_mut("propertyNames") {
        publish(names);
        widen(names, false);
    }
}

/// Takes the `null` out of an optional schema.
fn require(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
    }
    let Some(Value::Array(mut list)) = schema.shift_remove("anyOf") else { return };
    list.retain(|kind| !allows(kind, "null"));
    match list.as_slice() {
        [Value::Object(only)] => schema.extend(only.clone()),
        _ => {
            schema.insert("anyOf".to_owned(), Value::Array(list));
        }
    }
}

/// Allows a variable in place of a value, and `null` in place of an optional one.
fn widen(schema: &mut Value, optional: bool) {
    let kinds = alternatives(schema);
    let text = kinds
        .iter()
        .any(|kind| allows(kind, "string") && kind.get("pattern").is_none() && !is_choice(kind));
    let scalar = kinds.iter().any(|kind| {
        ["string", "integer", "number", "boolean"].into_iter().any(|name| allows(kind, name))
            || is_choice(kind)
    });
    let mut more = Vec::new();
    if scalar && !text {
        more.push(json!({ "$ref": "#/$defs/Variable" }));
    }
    let nullable = |schema: &Value| allows(schema, "null");
    let list = schema.get("anyOf").and_then(Value::as_array);
    if optional && !nullable(schema) && !list.is_some_and(|list| list.iter().any(nullable)) {
        more.push(json!({ "type": "null" }));
    }
    let Some(schema) = schema.as_object_mut().filter(|_| !more.is_empty()) else { return };
    if let Some(Value::Array(list)) = schema.get_mut("anyOf") {
        list.append(&mut more);
        return;
    }
    // Keywords that describe the value stay outside, those that restrict it go in.
    let mut outside = Map::new();
    for key in ["description", "default"] {
        if let Some(value) = schema.shift_remove(key) {
            outside.insert(key.to_owned(), value);
        }
    }
    let inside = std::mem::replace(schema, outside);
    more.insert(0, Value::Object(inside));
    schema.insert("anyOf".to_owned(), Value::Array(more));
}

fn is_choice(schema: &Value) -> bool {
    schema.get("enum").is_some() || schema.get("const").is_some()
}
