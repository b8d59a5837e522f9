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
    /// The message field that the gateway reads a code from in every response
    /// that has it.
    #[schemars(with = "FieldName")]
    pub response_field: String,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        IdentityConfig {
            request_field: "commonReq".to_owned(),
            response_field: "commonResp".to_owned(),
        }
    }
}
