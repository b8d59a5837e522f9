//! The names of the gateway's own metadata.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
