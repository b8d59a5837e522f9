//! Texts that must not be shown, written in the file or in files of their own.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::forms::{FilePath, SecretText};

/// A secret text. Line breaks at its end are not part of it: variables are often
/// filled from files that end with one.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(inline, extend("x-secret" = true))]
pub struct Secret(#[schemars(with = "SecretText")] String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(Self(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

impl Secret {
    /// The secret itself. Keep it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret, or the file that has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SecretSource {
    /// The text itself; better a variable such as `${KEY}`.
    Text(Secret),
    /// The file that has it.
    File(SecretFile),
}

/// A file that holds a secret on one line. It is read again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SecretFile {
    /// The file's name. White space at the ends of its text is not part of it.
    #[schemars(with = "FilePath")]
    pub file: PathBuf,
}

/// A bearer token, or where it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum PushToken {
    /// The token itself; better a variable such as `${PUSH_TOKEN}`.
    Text(Secret),
    /// The same in the long form.
    Long(PushTokenObject),
}

/// A token in the long form: with `token` or with `token_file`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("x-exactly-one" = ["token", "token_file"]))]
pub struct PushTokenObject {
    /// The token itself; better a variable such as `${PUSH_TOKEN}`.
    pub token: Option<Secret>,
    /// A file that holds the token on one line. It is read again when it changes. White
    /// space at the ends of its text is not part of it.
    #[schemars(with = "Option<FilePath>")]
    pub token_file: Option<PathBuf>,
}
