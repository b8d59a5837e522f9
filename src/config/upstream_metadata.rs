//! The `metadata` section of an upstream: the gRPC metadata of its calls.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;
use super::own_metadata::OwnMetadata;
use super::secret::SecretSource;

/// Changes to the gRPC metadata of an upstream's calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamMetadata {
    /// Whether calls carry the client's token, as `authorization: Bearer <token>`.
    pub authorization: Authorization,
    /// The gateway's own metadata that calls of this service do not carry.
    #[schemars(extend("uniqueItems" = true))]
    pub drop: Vec<OwnMetadata>,
    /// Metadata of every call, callouts and reflection included, such as an API
    /// key: a text, or `{ file: … }`. `authorization` stands in place of the
    /// client's token.
    #[schemars(extend("propertyNames" = forms::schema_of::<forms::FixedMetadataName>()))]
    pub set: IndexMap<String, SecretSource>,
}

/// Whether calls carry the client's token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// Calls carry it.
    #[default]
    Pass,
    /// Calls do not carry it: for services that read every token as one of their own.
    Drop,
}
