//! The meaning of a failed attempt: its origin, and whether the service can have
//! executed the call. Pure. The status of an answer is read in `status`.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors>

use h2::Reason;
use http::StatusCode;
use tonic::{Code, Status};

/// One attempt that did not bring a response message.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) origin: Origin,
    pub(super) fate: Fate,
    pub(super) fault: Fault,
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

/// Whether the service can have executed the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Provably not: it never left, or the peer says that it was not processed.
    Unprocessed,
    /// It may have been executed.
    Unknown,
}

/// The fault, as far as the choice of endpoints is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No reason to avoid the endpoint: an answer of the service, however bad,
    /// or an orderly goodbye.
    None,
    /// The endpoint failed this one call.
    Call,
    /// The connection went away under all of its calls: one fault in all.
    Connection,
}

impl Failure {
    /// The service answered with a status.
    pub(super) fn answered(status: Status) -> Self {
        Self { status, origin: Origin::Service, fate: Fate::Unknown, fault: Fault::None }
    }

    /// The peer answered, but not in gRPC.
    pub(super) fn malformed(status: Status) -> Self {
        let fault = if status.code() == Code::Unavailable { Fault::Call } else { Fault::None };
        Self { status, origin: Origin::Gateway, fate: Fate::Unknown, fault }
    }

    /// The request could not be put on a connection that is closing.
    pub(super) fn not_sent(error: &h2::Error) -> Self {
        Self {
            status: Status::unavailable(error.to_string()),
            fate: Fate::Unprocessed,
            ..Self::broken(error)
        }
    }

    /// The request is one that no connection would take.
    pub(super) fn unsendable(reason: impl std::fmt::Display) -> Self {
        Self {
            status: Status::internal(reason.to_string()),
            origin: Origin::Gateway,
            fate: Fate::Unknown,
            fault: Fault::None,
        }
    }

    /// The same, where it is known why the connection was broken off.
    pub(super) fn because(self, why: Option<&str>) -> Self {
        match why {
            Some(why) => Self { status: Status::new(self.status.code(), why), ..self },
            None => self,
        }
    }

    /// The stream or its connection failed under the call.
    pub(super) fn broken(error: &h2::Error) -> Self {
        let reason = error.reason();
        let (code, fate, fault) = if error.is_go_away() && error.is_remote() {
            // h2 fails a stream with the peer's GOAWAY only if its id is above
            // the last one the peer processed (RFC 9113, 6.8).
            let fault = match reason {
                Some(Reason::NO_ERROR) => Fault::None,
                _ => Fault::Connection,
            };
            (Code::Unavailable, Fate::Unprocessed, fault)
        } else if error.is_reset() {
            match reason {
                Some(Reason::REFUSED_STREAM) => (Code::Unavailable, Fate::Unprocessed, Fault::Call),
                Some(Reason::CANCEL) => (Code::Cancelled, Fate::Unknown, Fault::None),
                Some(reason) => (code_of_reset(reason), Fate::Unknown, Fault::Call),
                None => (Code::Internal, Fate::Unknown, Fault::Call),
            }
        } else if error.is_io() || error.is_go_away() {
            (Code::Unavailable, Fate::Unknown, Fault::Connection)
        } else {
            (Code::Internal, Fate::Unknown, Fault::None)
        };
        Self { status: Status::new(code, error.to_string()), origin: Origin::Gateway, fate, fault }
    }
}

/// gRPC's mapping of the codes that reset a stream. The two that say something
/// about the call itself are handled before.
fn code_of_reset(reason: Reason) -> Code {
    match reason {
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// gRPC's mapping of HTTP statuses, for answers without a `grpc-status`.
pub(super) fn code_of_http(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_map_as_grpc_says() {
        for (http, code) in [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
            (200, Code::Unknown),
            (500, Code::Unknown),
        ] {
            assert_eq!(code_of_http(StatusCode::from_u16(http).unwrap()), code, "{http}");
        }
    }

    #[test]
    fn reset_reasons_map_as_grpc_says() {
        for (reason, code) in [
            (Reason::NO_ERROR, Code::Internal),
            (Reason::PROTOCOL_ERROR, Code::Internal),
            (Reason::INTERNAL_ERROR, Code::Internal),
            (Reason::FLOW_CONTROL_ERROR, Code::Internal),
            (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        ] {
            assert_eq!(code_of_reset(reason), code, "{reason:?}");
        }
    }
}
