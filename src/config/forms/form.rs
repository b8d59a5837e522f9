//! The type of a form: its pattern, its words and its check.

use std::borrow::Cow;

use schemars::{Schema, json_schema};

/// The schema keyword that names a text's form. It is for [`super::super::structure`]
/// alone: the published schema leaves it out.
pub(in crate::config) const KEYWORD: &str = "x-form";

/// The syntax of a text.
#[derive(Debug)]
pub(in crate::config) struct Form {
    /// The value of [`KEYWORD`].
    pub(in crate::config) name: &'static str,
    /// ECMA 262 regular expression for editors.
    pub(in crate::config) pattern: &'static str,
    /// The name in messages, with an article: "a duration".
    pub(in crate::config) noun: &'static str,
    /// The plural, without an article: "durations".
    pub(in crate::config) plural: &'static str,
    /// The correction for a wrong text.
    pub(in crate::config) help: &'static str,
    /// Checks a text.
    pub(in crate::config) check: fn(&str) -> Result<(), Complaint>,
}

impl Form {
    /// The JSON Schema of a text in this form.
    pub(in crate::config) fn schema(&self) -> Schema {
        json_schema!({
            "type": "string",
            KEYWORD: self.name,
            "pattern": self.pattern,
            "patternErrorMessage": format!("expected {}: {}", self.noun, self.help),
        })
    }
}

/// The reason why a text is not in its form.
#[derive(Debug, Default)]
pub(in crate::config) struct Complaint {
    /// Follows the quoted text: "has no unit". Absent: "is not a …".
    pub(in crate::config) predicate: Option<Cow<'static, str>>,
    /// Replaces the form's own help. May repeat the text, so it is shown only
    /// if the text is literally in the file.
    pub(in crate::config) help: Option<String>,
}

impl Complaint {
    /// Without a particular reason.
    pub(in crate::config) fn plain() -> Self {
        Complaint::default()
    }

    /// With a particular reason.
    pub(in crate::config) fn because(predicate: impl Into<Cow<'static, str>>) -> Self {
        Complaint { predicate: Some(predicate.into()), help: None }
    }

    /// Adds the correction for this particular text.
    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Declares a type that stands for a form in `#[schemars(with = …)]`.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident = $form:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(in crate::config) enum $name {}

        impl $name {
            pub(in crate::config) const FORM: $crate::config::forms::Form = $form;
        }

        impl ::schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                Self::FORM.schema()
            }
        }
    };
}
pub(in crate::config) use form;
