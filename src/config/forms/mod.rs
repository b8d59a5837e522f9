//! The forms that texts in `routes.yaml` may have: addresses, names, globs, ….
//!
//! A form is one constant: the pattern that the JSON Schema gives to editors,
//! the words for errors, and the check that decides. The pattern may let
//! through what the check refuses, never the other way round. Durations and
//! sizes are forms too; they live in [`super::units`].

mod names;
mod network;

pub(super) use names::{
    ClientMethod, FieldName, FilePath, Glob, MethodName, NonEmpty, Platform, ServiceName,
    UpstreamName,
};
pub(super) use network::{Address, DomainName, HttpPath, ListenAddress, NatsUrl, Network, Origin};

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::units::{Delay, Interval, Size};

/// The schema keyword that names a text's form. It is for [`super::structure`]
/// alone: the published schema leaves it out.
pub(super) const KEYWORD: &str = "x-form";

/// Every form that a schema can name.
static FORMS: [&Form; 19] = [
    &Address::FORM,
    &ClientMethod::FORM,
    &Delay::FORM,
    &DomainName::FORM,
    &FieldName::FORM,
    &FilePath::FORM,
    &Glob::FORM,
    &HttpPath::FORM,
    &Interval::FORM,
    &ListenAddress::FORM,
    &MethodName::FORM,
    &NatsUrl::FORM,
    &Network::FORM,
    &NonEmpty::FORM,
    &Origin::FORM,
    &Platform::FORM,
    &ServiceName::FORM,
    &Size::FORM,
    &UpstreamName::FORM,
];

/// The form called `name`.
pub(super) fn find(name: &str) -> Option<&'static Form> {
    FORMS.iter().copied().find(|form| form.name == name)
}

/// The schema of a form, or of anything else, by itself.
pub(super) fn schema_of<T: JsonSchema>() -> Schema {
    T::json_schema(&mut SchemaGenerator::default())
}

/// What a text must look like.
#[derive(Debug)]
pub(super) struct Form {
    /// The value of [`KEYWORD`].
    pub(super) name: &'static str,
    /// ECMA 262 regular expression for editors.
    pub(super) pattern: &'static str,
    /// What it is, with an article: "a duration".
    pub(super) noun: &'static str,
    /// Several of them, without an article: "durations".
    pub(super) plural: &'static str,
    /// What would be right.
    pub(super) help: &'static str,
    /// Decides.
    pub(super) check: fn(&str) -> Result<(), Complaint>,
}

impl Form {
    /// The JSON Schema of a text in this form.
    pub(super) fn schema(&self) -> Schema {
        json_schema!({
            "type": "string",
            KEYWORD: self.name,
            "pattern": self.pattern,
            "patternErrorMessage": format!("expected {}: {}", self.noun, self.help),
        })
    }
}

/// Why a text is not in its form.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// Goes behind the quoted text: "has no unit". Absent: "is not a …".
    pub(super) predicate: Option<Cow<'static, str>>,
    /// Better than the form's own help. May repeat the text, so it is shown
    /// only where the text is as the file has it.
    pub(super) help: Option<String>,
}

impl Complaint {
    /// Nothing more to say than that it is not in its form.
    pub(super) fn plain() -> Self {
        Complaint::default()
    }

    /// Says what is wrong in particular.
    pub(super) fn because(predicate: impl Into<Cow<'static, str>>) -> Self {
        Complaint { predicate: Some(predicate.into()), help: None }
    }

    /// Says what would be right, with this text in mind.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
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
pub(super) use form;
