//! The `metadata` section of an upstream: what its calls carry besides messages.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;
use super::own_metadata::OwnMetadata;
use super::secret::SecretSource;

/// What gRPC metadata the calls of an upstream carry, other than usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamMetadata {
    /// What becomes of the client's token, which calls carry as
    /// `authorization: Bearer <token>`.
    pub authorization: Authorization,
    /// The gateway's own metadata that this service's calls go without.
    #[schemars(extend("uniqueItems" = true))]
    pub drop: Vec<OwnMetadata>,
    /// Metadata of every call, callouts and reflection included, such as an API
    /// key: a text, or `{ file: … }`. `authorization` stands in place of the
    /// client's token.
    #[schemars(extend("propertyNames" = forms::schema_of::<forms::FixedMetadataName>()))]
    pub set: IndexMap<String, SecretSource>,
}

/// What becomes of the client's token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// The service gets it.
    #[default]
    Pass,
    /// It does not: for services that take every token for one of their own.
    Drop,
}
