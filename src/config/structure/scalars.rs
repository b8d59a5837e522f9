//! Scalars against their schemas: choices, forms, ranges, files.

use serde_json::{Number, Value as Json};

use super::{FileUse, Place, Walk, form_of};
use crate::auth::jwt::KeysUrl;
use crate::config::forms::{FilePath, Form, KeysPlace};
use crate::config::located::{Meaning, Node, Scalar, Value};
use crate::config::schema::{self, allows};
use crate::config::suggestions;
use crate::config::units::Size;
use crate::config::words::{self, noun, quoted};

impl Walk<'_> {
    /// One of several texts.
    pub(super) fn choice(
        &mut self,
        node: &Node,
        kinds: &[&Json],
        place: &Place<'_>,
    ) -> Option<Json> {
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

    pub(super) fn scalar(
        &mut self,
        scalar: &Scalar,
        schema: &Json,
        place: &Place<'_>,
    ) -> Option<Json> {
        // A variable's value gets the expected type, as it cannot have quotes.
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
            Meaning::Number(number) if allows(schema, "number") => {
                return self
                    .in_bounds(number, scalar, schema, place)
                    .then(|| number.clone().into());
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
            let is_secret = schema::is_secret(schema);
            let text = if is_secret { "…" } else { &scalar.text };
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
        let is_file = form_of(schema).is_some_and(|form| {
            form.name == FilePath::FORM.name
                || form.name == KeysPlace::FORM.name && !KeysUrl::is_meant_by(&scalar.text)
        });
        if is_file {
            return self.file(scalar, place);
        }
        Some(Json::String(scalar.text.clone()))
    }

    /// Checks a text's form.
    pub(super) fn in_form(
        &mut self,
        scalar: &Scalar,
        form: &Form,
        place: &Place<'_>,
    ) -> Option<()> {
        let complaint = (form.check)(&scalar.text).err();
        let Some(complaint) = complaint else { return Some(()) };
        let predicate = match (complaint.predicate, place.expected) {
            (Some(predicate), _) => predicate.into_owned(),
            (None, Some(expected)) => format!("is not {expected}"),
            (None, None) => format!("is not {}", form.noun),
        };
        // The help of a complaint may repeat the text.
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

    /// The same for a number that need not be whole.
    fn in_bounds(
        &mut self,
        number: &Number,
        scalar: &Scalar,
        schema: &Json,
        place: &Place<'_>,
    ) -> bool {
        let bound = |key, default| schema.get(key).and_then(Json::as_f64).unwrap_or(default);
        let (least, most) = (bound("minimum", f64::MIN), bound("maximum", f64::MAX));
        if number.as_f64().is_some_and(|value| (least..=most).contains(&value)) {
            return true;
        }
        let (predicate, help) = (format!("is not {}", noun(schema)), "write such as `0.01`");
        self.refuse(scalar, &predicate, help.to_owned(), place);
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

    /// Puts the folder before a file's name, and records the file.
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
}
