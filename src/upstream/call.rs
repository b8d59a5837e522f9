//! A call and what can come of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tonic::Status;

/// One unary call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method, `/package.Service/Method`.
    pub path: PathAndQuery,
    /// The call's metadata. `grpc-timeout`, `content-type`, `te` and
    /// `user-agent` are set by the upstream.
    pub metadata: HeaderMap,
    /// The serialized request message.
    pub message: Bytes,
    /// How long the caller waits, retries included.
    pub timeout: Duration,
    /// Whether the method may be executed twice, so that a call whose fate is
    /// unknown may be sent again.
    pub retry: bool,
}

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status}")]
pub struct CallError {
    /// Code, message, details and metadata.
    pub status: Status,
    /// Who said so.
    pub origin: Origin,
    /// The address the call was last sent to, if it was sent at all.
    pub endpoint: Option<Arc<str>>,
}

/// Where a status came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service answered with it.
    Service,
    /// The gateway made it: the service did not answer in time, or at all, or
    /// not in gRPC.
    Gateway,
}
