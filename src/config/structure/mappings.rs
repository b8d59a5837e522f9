//! Mappings against their schemas: which keys there may be, must be, or go
//! together.

use serde_json::{Map, Value as Json};

use super::{Place, Walk, form_of, free};
use crate::config::located::{Entry, Scalar, Value};
use crate::config::schema::{self, allows, alternatives};
use crate::config::suggestions;
use crate::config::words;

impl Walk<'_> {
    pub(super) fn mapping(
        &mut self,
        entries: &[Entry],
        schema: &Json,
        place: &Place<'_>,
    ) -> Option<Json> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut map = Map::new();
        // Keys that an unknown one may be a misspelling of.
        let unused: Vec<&str> = properties
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|key| entries.iter().all(|entry| entry.key != *key))
            .collect();
        // Keys that an unknown one is clearly a misspelling of.
        let mut meant = Vec::new();
        for entry in entries {
            let known = properties.and_then(|properties| properties.get(&entry.key));
            let below = Place { key: &entry.written, span: entry.key_span, expected: None };
            let value = match (known, schema.get("additionalProperties")) {
                (Some(property), _) if entry.value.is_absent() => {
                    self.absent(entry, property);
                    None
                }
                (Some(property), _) => self.node(&entry.value, property, &below),
                (None, None | Some(Json::Bool(true))) => free(&entry.value),
                (None, Some(Json::Bool(false))) => {
                    meant.extend(self.unknown_key(entry, &unused, properties, place));
                    None
                }
                (None, Some(values)) => self.named(entry, schema, values, &below),
            };
            if let Some(value) = value {
                map.insert(entry.key.clone(), value);
            }
        }
        self.companions(entries, &mut map, schema);
        let decided = self.exactly_one(entries, &map, schema, place);
        let complete = self.complete(entries, &mut map, schema, &meant, place);
        (decided && complete).then_some(Json::Object(map))
    }

    /// A known key without a value counts as left out. Warns where that may
    /// not be intended.
    fn absent(&mut self, entry: &Entry, schema: &Json) {
        let kinds = alternatives(schema);
        let is_option = schema.get("anyOf").is_some();
        let has_defaults = |kind: &&Json| allows(kind, "object") && kind.get("required").is_none();
        let spoken =
            matches!(&entry.value.value, Value::Scalar(scalar) if scalar.written.is_none());
        if is_option && spoken && kinds.iter().any(has_defaults) {
            let key = &entry.written;
            let message = format!("`{key}` is empty, so it counts as left out");
            self.diagnostics.warning(
                entry.key_span,
                message,
                format!("for its defaults write `{key}: {{}}`"),
            );
        }
    }

    /// An entry of a mapping whose keys are names.
    fn named(
        &mut self,
        entry: &Entry,
        schema: &Json,
        values: &Json,
        place: &Place<'_>,
    ) -> Option<Json> {
        let form = schema.get("propertyNames").and_then(form_of);
        let name = Scalar {
            text: entry.key.clone(),
            written: (entry.key != entry.written).then(|| entry.written.clone()),
            plain: false,
        };
        let good_name = form.is_none_or(|form| {
            let place = Place { key: "", span: entry.key_span, expected: None };
            self.in_form(&name, form, &place).is_some()
        });
        if entry.value.is_absent() {
            if matches!(&entry.value.value, Value::Scalar(scalar) if scalar.written.is_none()) {
                let expected = words::nouns(&alternatives(values));
                let message = format!("{} is empty", place.name());
                self.diagnostics.error(place.span, message, format!("it needs {expected}"));
            }
            return None;
        }
        // The value is checked even if the name is bad: it may have mistakes of its own.
        self.node(&entry.value, values, place).filter(|_| good_name)
    }

    /// Reports an unknown key; returns the key that it is a misspelling of.
    fn unknown_key(
        &mut self,
        entry: &Entry,
        unused: &[&str],
        properties: Option<&Map<String, Json>>,
        place: &Place<'_>,
    ) -> Option<String> {
        let meant = suggestions::closest(&entry.key, unused.iter().copied());
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => match suggestions::homes(&entry.key) {
                Some(homes) => format!("`{}` belongs in {homes}", entry.key),
                None => {
                    let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                    format!("{} may have {}", place.name(), words::list(known, "and"))
                }
            },
        };
        let key = words::shorten(&entry.written);
        self.diagnostics.error(entry.key_span, format!("unknown key `{key}`"), help);
        meant.map(str::to_owned)
    }

    /// Checks the rule of exactly one key out of several, if the mapping has it.
    /// Returns whether the mapping can be deserialized.
    fn exactly_one(
        &mut self,
        entries: &[Entry],
        map: &Map<String, Json>,
        schema: &Json,
        place: &Place<'_>,
    ) -> bool {
        let Some(keys) = schema::exactly_one(schema) else { return true };
        let properties = schema.get("properties").and_then(Json::as_object);
        let is_choice = |entry: &&Entry| keys.contains(&entry.key.as_str());
        let mut given = entries.iter().filter(is_choice).filter(|entry| !entry.value.is_absent());
        match (given.next(), given.next()) {
            (Some(_), None) => {}
            (Some(first), Some(second)) => {
                let message =
                    format!("{} has both `{}` and `{}`", place.name(), first.key, second.key);
                let error = self.diagnostics.error(second.key_span, message, "keep one of them");
                error.note(first.key_span, "the first one is here");
            }
            // An unknown key has been reported, and may be a misspelt choice.
            (None, _)
                if entries.iter().any(|entry| {
                    properties.is_none_or(|properties| !properties.contains_key(&entry.key))
                }) => {}
            (None, _) => {
                let all = words::list(keys.iter().copied(), "and");
                let message = if entries.is_empty() {
                    format!("{} says nothing", place.name())
                } else {
                    format!("{} has none of {all}", place.name())
                };
                let help = format!("it needs one of {all}");
                self.diagnostics.error(place.span, message, help);
            }
        }
        keys.iter().filter(|key| map.contains_key(**key)).count() == 1
    }

    /// Keys that need other keys beside them. One without the other is dropped.
    fn companions(&mut self, entries: &[Entry], map: &mut Map<String, Json>, schema: &Json) {
        let Some(rules) = schema.get("dependentRequired").and_then(Json::as_object) else { return };
        for (key, others) in rules {
            let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { continue };
            for other in others.as_array().into_iter().flatten().filter_map(Json::as_str) {
                if map.contains_key(key) && !map.contains_key(other) {
                    map.shift_remove(key);
                    if !entries.iter().any(|entry| entry.key == other && !entry.value.is_absent()) {
                        let message = format!("`{key}` needs `{other}` beside it");
                        self.diagnostics.error(
                            entry.key_span,
                            message,
                            format!("add `{other}`, or leave `{key}` out"),
                        );
                    }
                }
            }
        }
    }

    /// Checks that required keys are present. Returns whether the mapping can be
    /// deserialized.
    fn complete(
        &mut self,
        entries: &[Entry],
        map: &mut Map<String, Json>,
        schema: &Json,
        meant: &[String],
        place: &Place<'_>,
    ) -> bool {
        let mut complete = true;
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            if map.contains_key(key) {
                continue;
            }
            let property = schema.get("properties").and_then(|properties| properties.get(key));
            let expected =
                property.map(|property| words::nouns(&alternatives(property))).unwrap_or_default();
            match entries.iter().find(|entry| entry.key == key) {
                Some(entry) if entry.value.is_absent() => {
                    let span = entry.key_span;
                    self.diagnostics.error(
                        span,
                        format!("`{key}` is empty"),
                        format!("it needs {expected}"),
                    );
                }
                // It has been reported.
                Some(_) => {}
                None if meant.iter().any(|meant| meant == key) => {}
                None => {
                    self.diagnostics.error(
                        place.span,
                        format!("{} has no `{key}`", place.name()),
                        format!("add `{key}: …`, {expected}"),
                    );
                }
            }
            match property.and_then(|property| property.get(schema::STAND_IN)) {
                Some(stand_in) => {
                    map.insert(key.to_owned(), stand_in.clone());
                }
                None => complete = false,
            }
        }
        complete
    }
}
