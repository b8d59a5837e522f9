//! The `metadata` section of an upstream: what its calls carry besides messages.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms;
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
    /// Where the call stands in a trace.
    Traceparent,
    /// What tracing systems tell each other besides.
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
