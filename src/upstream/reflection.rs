//! Asks a server for the descriptors of its services, by gRPC server
//! reflection.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use super::Config;

/// What a server says about itself.
#[derive(Debug, Clone, Default)]
pub struct Reflected {
    /// A serialized `google.protobuf.FileDescriptorSet`: the files of the
    /// asked symbols and all they import, imports first.
    pub file_descriptor_set: Bytes,
    /// Full names of every service the server lists, sorted.
    pub services: Vec<String>,
}

/// Why a server's descriptors could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// No connection, or it broke, or no answer in time: worth another try later.
    #[error("`{upstream}` cannot be reached for reflection: {reason}")]
    Unreachable {
        /// The upstream's name.
        upstream: String,
        /// What happened.
        reason: String,
    },
    /// The server does not speak reflection, neither v1 nor v1alpha.
    #[error(
        "`{upstream}` does not offer server reflection: enable it there, or name descriptor set files under `descriptors`"
    )]
    NotImplemented {
        /// The upstream's name.
        upstream: String,
    },
    /// The server does not know one of the symbols.
    #[error("`{upstream}` does not know `{symbol}`")]
    UnknownSymbol {
        /// The upstream's name.
        upstream: String,
        /// The service or method asked for.
        symbol: String,
        /// The services the server does list.
        services: Vec<String>,
    },
    /// The server refuses to answer, or answers nonsense.
    #[error("`{upstream}` failed to reflect: {status}")]
    Failed {
        /// The upstream's name.
        upstream: String,
        /// What it said.
        status: Status,
    },
}

/// Asks for the files that define `symbols` (full names, without a leading
/// dot), over a connection of its own, within `timeout`.
pub async fn fetch(
    config: &Config,
    _symbols: &[&str],
    _timeout: Duration,
) -> Result<Reflected, ReflectionError> {
    Err(ReflectionError::Unreachable {
        upstream: config.name.clone(),
        reason: "not built yet".into(),
    })
}
