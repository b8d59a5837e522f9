//! Holds a document against the schema of the model.
//!
//! What fits becomes JSON that the model can be deserialized from. What does
//! not is reported and left out, so that one mistake hides no other.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::diagnostics::Diagnostics;
use super::forms::{self, FilePath, Form};
use super::located::{Document, Entry, Meaning, Node, Scalar, Value};
use super::schema::{self, allows, alternatives, resolve};
use super::source::Span;
use super::suggestions;
use super::units::Size;
use super::words::{self, noun, quoted};

/// A document that has been held against the schema.
pub(super) struct Checked {
    /// What of it fits.
    pub(super) json: Option<Json>,
    /// The files that it names.
    pub(super) files: Vec<FileUse>,
}

/// A file that a document names.
#[derive(Debug)]
pub(super) struct FileUse {
    /// Where it is named.
    pub(super) span: Span,
    /// The key that it is named by.
    pub(super) key: String,
    /// The name as the document has it.
    pub(super) written: String,
    /// The name with the folder before it.
    pub(super) path: PathBuf,
}

/// Holds `document` against the schema. Relative file names start at `folder`.
pub(super) fn check(document: &Document, folder: &Path, diagnostics: &mut Diagnostics) -> Checked {
    let mut walk = Walk { folder, diagnostics, files: Vec::new() };
    let place = Place { key: "", span: document.root.span, expected: None };
    let json = walk.node(&document.root, schema::model(), &place);
    Checked { json, files: walk.files }
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// The nearest key; empty at the root, and where the key itself is looked at.
    key: &'p str,
    /// What to point at where the node itself has no good place.
    span: Span,
    /// What is expected, where that is more than the schema at hand says.
    expected: Option<&'p str>,
}

impl Place<'_> {
    /// What an error about a value begins with.
    fn prefix(&self) -> String {
        if self.key.is_empty() {
            String::new()
        } else {
            format!("`{}`: ", words::shorten(self.key))
        }
    }

    /// What stands here.
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
    /// What of `node` fits, as JSON.
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
        let Some(&kind) = kinds.iter().find(fits) else {
            return self.mismatch(node, &words::nouns(&kinds), place);
        };
        let expected = (kinds.len() > 1).then(|| words::nouns(&kinds));
        let place = &Place { expected: expected.as_deref(), ..*place };
        match &node.value {
            Value::Bad => None,
            Value::Mapping(entries) => self.mapping(entries, kind, place),
            Value::List(items) => Some(self.list(items, kind, place)),
            Value::Scalar(_) if words::choice(kind).is_some() => self.choice(node, &[kind], place),
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

    /// One of several texts.
    fn choice(&mut self, node: &Node, kinds: &[&Json], place: &Place<'_>) -> Option<Json> {
        let texts: Vec<&str> =
            kinds.iter().filter_map(|kind| words::choice(kind)).flatten().collect();
        let Value::Scalar(scalar) = &node.value else {
            return self.mismatch(node, &words::one_of(&texts), place);
        };
        if texts.contains(&scalar.text.as_str()) {
            return Some(Json::String(scalar.text.clone()));
        }
        let help = match (suggestions::closest(&scalar.text, texts.iter().copied()), place.expected)
        {
            (Some(text), _) => format!("did you mean `{text}`?"),
            (None, Some(expected)) if expected.contains("a list") => {
                format!("write {}, or a list: {}", words::one_of(&texts), words::as_list(scalar))
            }
            (None, expected) => format!("write {}", expected.unwrap_or(&words::one_of(&texts))),
        };
        let message = format!("{}{} is not known here", place.prefix(), quoted(scalar));
        self.diagnostics.error(node.span, message, help);
        None
    }

    fn scalar(&mut self, scalar: &Scalar, schema: &Json, place: &Place<'_>) -> Option<Json> {
        // A variable's value is typed by what is expected, as a text has no quotes to show.
        let typed = scalar.plain || scalar.written.is_some();
        let meaning = Scalar { text: scalar.text.clone(), written: None, plain: typed }.meaning();
        match &meaning {
            Meaning::Boolean(value) if allows(schema, "boolean") => {
                return Some(Json::Bool(*value));
            }
            Meaning::Number(number) if allows(schema, "integer") && number.is_u64() => {
                let value = number.as_u64().unwrap_or_default();
                return self.in_range(value, scalar, schema, place).then(|| value.into());
            }
            _ => {}
        }
        if !allows(schema, "string") {
            let predicate =
                format!("is not {}", place.expected.map_or_else(|| noun(schema), str::to_owned));
            let help = words::mend_scalar(scalar, schema);
            return self.refuse(scalar, &predicate, help, place);
        }
        if let Some(form) = form_of(schema) {
            self.in_form(scalar, form, place)?;
            if form.name == Size::FORM.name {
                let size = Size::parse(&scalar.text).ok()?;
                return self.in_range(size, scalar, schema, place).then(|| size.into());
            }
        }
        if scalar.written.is_none() && meaning != Meaning::Text {
            let text = &scalar.text;
            let message = format!(
                "`{}`: expected a text, found {}",
                place.key,
                words::kind_of(&meaning, text)
            );
            self.diagnostics.error(
                place.span,
                message,
                format!("put quotes around it: \"{text}\""),
            );
            return None;
        }
        if form_of(schema).is_some_and(|form| form.name == FilePath::FORM.name) {
            return self.file(scalar, place);
        }
        Some(Json::String(scalar.text.clone()))
    }

    /// Checks a text's form.
    fn in_form(&mut self, scalar: &Scalar, form: &Form, place: &Place<'_>) -> Option<()> {
        let complaint = (form.check)(&scalar.text).err();
        let Some(complaint) = complaint else { return Some(()) };
        let predicate = match (complaint.predicate, place.expected) {
            (Some(predicate), _) => predicate.into_owned(),
            (None, Some(expected)) => format!("is not {expected}"),
            (None, None) => format!("is not {}", form.noun),
        };
        // A help made for this text may repeat it.
        let help = complaint.help.filter(|_| scalar.written.is_none());
        self.refuse(scalar, &predicate, help.unwrap_or_else(|| form.help.to_owned()), place);
        None
    }

    fn in_range(&mut self, value: u64, scalar: &Scalar, schema: &Json, place: &Place<'_>) -> bool {
        let bound = |key| schema.get(key).and_then(Json::as_u64);
        let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u64::MAX));
        if (least..=most).contains(&value) {
            return true;
        }
        let size = form_of(schema).is_some();
        let show = |number| if size { Size::format(number) } else { number.to_string() };
        let (predicate, help) = if value < least {
            (format!("is less than {}", show(least)), format!("write {} or more", show(least)))
        } else {
            (format!("is more than {}", show(most)), format!("write {} or less", show(most)))
        };
        self.refuse(scalar, &predicate, help, place);
        false
    }

    fn refuse(
        &mut self,
        scalar: &Scalar,
        predicate: &str,
        help: String,
        place: &Place<'_>,
    ) -> Option<Json> {
        let message = format!("{}{} {predicate}", place.prefix(), quoted(scalar));
        self.diagnostics.error(place.span, message, help);
        None
    }

    /// Puts the folder before a file's name, and remembers the file.
    fn file(&mut self, scalar: &Scalar, place: &Place<'_>) -> Option<Json> {
        let path = self.folder.join(&scalar.text);
        let Some(name) = path.to_str() else {
            let message = format!("{}the folder's name is not UTF-8", place.prefix());
            self.diagnostics.error(place.span, message, "write an absolute path");
            return None;
        };
        let json = Json::String(name.to_owned());
        self.files.push(FileUse {
            span: place.span,
            key: place.key.to_owned(),
            written: scalar.shown().to_owned(),
            path,
        });
        Some(json)
    }

    fn list(&mut self, items: &[std::sync::Arc<Node>], schema: &Json, place: &Place<'_>) -> Json {
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
                let message = format!("{}{} is here twice", place.prefix(), words::found(item));
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

    fn mapping(&mut self, entries: &[Entry], schema: &Json, place: &Place<'_>) -> Option<Json> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut map = Map::new();
        // Required keys that were clearly meant by an unknown one.
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
                    meant.extend(self.unknown_key(entry, entries, properties, place));
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

    /// A known key with nothing behind it counts as left out. Where that may
    /// not be what was meant, says so.
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
        // The value is looked at even if the name is bad: it may have mistakes of its own.
        self.node(&entry.value, values, place).filter(|_| good_name)
    }

    /// Reports a key that nothing knows; gives the key that was meant.
    fn unknown_key(
        &mut self,
        entry: &Entry,
        entries: &[Entry],
        properties: Option<&Map<String, Json>>,
        place: &Place<'_>,
    ) -> Option<String> {
        let known = || properties.into_iter().flat_map(Map::keys).map(String::as_str);
        let free = known().filter(|key| entries.iter().all(|entry| entry.key != *key));
        let meant = suggestions::closest(&entry.key, free);
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => match suggestions::homes(&entry.key) {
                Some(homes) => format!("`{}` belongs in {homes}", entry.key),
                None => {
                    format!("{} may have {}", place.name(), words::list(known(), "and"))
                }
            },
        };
        let key = words::shorten(&entry.written);
        self.diagnostics.error(entry.key_span, format!("unknown key `{key}`"), help);
        meant.map(str::to_owned)
    }

    /// Where a mapping has room for one key alone, sees that it has one.
    /// Whether what there is can be read.
    fn exactly_one(
        &mut self,
        entries: &[Entry],
        map: &Map<String, Json>,
        schema: &Json,
        place: &Place<'_>,
    ) -> bool {
        if schema.get("maxProperties") != Some(&Json::from(1)) {
            return true;
        }
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            return true;
        };
        let known = |entry: &&Entry| properties.contains_key(&entry.key);
        let mut given = entries.iter().filter(known).filter(|entry| !entry.value.is_absent());
        match (given.next(), given.next()) {
            (Some(_), None) => {}
            (Some(first), Some(second)) => {
                let message =
                    format!("{} has both `{}` and `{}`", place.name(), first.key, second.key);
                let error = self.diagnostics.error(second.key_span, message, "keep one of them");
                error.note(first.key_span, "the first one is here");
            }
            // An unknown key has been reported, and may be what was meant.
            (None, _) if !entries.iter().all(|entry| known(&entry)) => {}
            (None, _) => {
                let keys = words::list(properties.keys().map(String::as_str), "and");
                let message = format!("{} says nothing", place.name());
                self.diagnostics.error(place.span, message, format!("it needs one of {keys}"));
            }
        }
        map.len() == 1
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

    /// Sees that required keys are there. Whether what is there can be read.
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

/// JSON of any shape, typed as YAML types it. `None` where it was bad.
fn free(node: &Node) -> Option<Json> {
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
