//! The `identity` section: where the caller's identity travels in messages.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::FieldName;

/// Where the caller's identity travels in messages.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// The message field that the gateway fills in every request that has it;
    /// whatever a client put there is dropped.
    #[schemars(with = "FieldName")]
    pub request_field: String,
    /// How far below a request's top level that field is filled.
    #[schemars(extend("default" = "top"))]
    pub depth: IdentityDepth,
    /// The message field that the gateway reads a code from in every response
    /// that has it.
    #[schemars(with = "FieldName")]
    pub response_field: String,
}

/// How far below a request's top level the caller's identity is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum IdentityDepth {
    /// Only in the request message itself. A field of that name deeper inside is the
    /// client's own.
    #[default]
    Top,
    /// In every message of the request that has the field, such as those of a
    /// batch. A request then may not grow by more than 1 MiB, nor nest deeper
    /// than 100 levels.
    Nested,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        IdentityConfig {
            request_field: "commonReq".to_owned(),
            depth: IdentityDepth::Top,
            response_field: "commonResp".to_owned(),
        }
    }
}
