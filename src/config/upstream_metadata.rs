//! The `metadata` section of an upstream: what its calls carry besides messages.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;
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

/// The names of the gateway's own metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OwnMetadata {
    /// The user who is logged in.
    XUserId,
    /// The gateway's name for the session.
    XSessionId,
    /// The device, as the client names it.
    XDeviceId,
    /// `ios`, `web`, …
    XPlatform,
    /// The client's IP address.
    XForwardedFor,
    /// The request's id, as the client names it.
    XRequestId,
    /// The client's name for the method.
    XMethod,
    /// The call's place in a trace.
    Traceparent,
    /// Further data of tracing systems.
    Tracestate,
}

impl OwnMetadata {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::XUserId,
        Self::XSessionId,
        Self::XDeviceId,
        Self::XPlatform,
        Self::XForwardedFor,
        Self::XRequestId,
        Self::XMethod,
        Self::Traceparent,
        Self::Tracestate,
    ];

    /// The name as it stands in a call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XUserId => "x-user-id",
            Self::XSessionId => "x-session-id",
            Self::XDeviceId => "x-device-id",
            Self::XPlatform => "x-platform",
            Self::XForwardedFor => "x-forwarded-for",
            Self::XRequestId => "x-request-id",
            Self::XMethod => "x-method",
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
        }
    }
}
