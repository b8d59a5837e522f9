//! The `error_codes` tables: gRPC statuses and the codes that clients know.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tonic::Code;

use crate::proto::session::response_body;

/// Rows that override the default mapping of gRPC statuses to client codes.
pub type ErrorCodes = BTreeMap<GrpcStatus, ClientCode>;

/// A gRPC status that is not `OK`.
///
/// <https://grpc.io/docs/guides/status-codes/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum GrpcStatus {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcStatus {
    /// Every status, in the order of its number.
    pub const ALL: [GrpcStatus; 16] = [
        GrpcStatus::Cancelled,
        GrpcStatus::Unknown,
        GrpcStatus::InvalidArgument,
        GrpcStatus::DeadlineExceeded,
        GrpcStatus::NotFound,
        GrpcStatus::AlreadyExists,
        GrpcStatus::PermissionDenied,
        GrpcStatus::ResourceExhausted,
        GrpcStatus::FailedPrecondition,
        GrpcStatus::Aborted,
        GrpcStatus::OutOfRange,
        GrpcStatus::Unimplemented,
        GrpcStatus::Internal,
        GrpcStatus::Unavailable,
        GrpcStatus::DataLoss,
        GrpcStatus::Unauthenticated,
    ];
}

impl From<GrpcStatus> for Code {
    fn from(status: GrpcStatus) -> Self {
        match status {
            GrpcStatus::Cancelled => Code::Cancelled,
            GrpcStatus::Unknown => Code::Unknown,
            GrpcStatus::InvalidArgument => Code::InvalidArgument,
            GrpcStatus::DeadlineExceeded => Code::DeadlineExceeded,
            GrpcStatus::NotFound => Code::NotFound,
            GrpcStatus::AlreadyExists => Code::AlreadyExists,
            GrpcStatus::PermissionDenied => Code::PermissionDenied,
            GrpcStatus::ResourceExhausted => Code::ResourceExhausted,
            GrpcStatus::FailedPrecondition => Code::FailedPrecondition,
            GrpcStatus::Aborted => Code::Aborted,
            GrpcStatus::OutOfRange => Code::OutOfRange,
            GrpcStatus::Unimplemented => Code::Unimplemented,
            GrpcStatus::Internal => Code::Internal,
            GrpcStatus::Unavailable => Code::Unavailable,
            GrpcStatus::DataLoss => Code::DataLoss,
            GrpcStatus::Unauthenticated => Code::Unauthenticated,
        }
    }
}

/// Names only, so that a table's keys become properties that editors complete.
impl JsonSchema for GrpcStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GrpcStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": GrpcStatus::ALL })
    }
}

/// A failure as clients know it: `ResponseBody.Code` without `Success`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ClientCode {
    /// A failure of unknown cause.
    UnknownError,
    /// A failure inside the service.
    InternalError,
    /// The request is wrong.
    RequestError,
    /// Not logged in, or the login expired.
    AuthError,
    /// Show a toast.
    ToastError,
    /// Show an alert.
    AlertError,
    /// A passing failure: try again.
    RetryError,
}

impl From<ClientCode> for response_body::Code {
    fn from(code: ClientCode) -> Self {
        match code {
            ClientCode::UnknownError => response_body::Code::UnknownError,
            ClientCode::InternalError => response_body::Code::InternalError,
            ClientCode::RequestError => response_body::Code::RequestError,
            ClientCode::AuthError => response_body::Code::AuthError,
            ClientCode::ToastError => response_body::Code::ToastError,
            ClientCode::AlertError => response_body::Code::AlertError,
            ClientCode::RetryError => response_body::Code::RetryError,
        }
    }
}
