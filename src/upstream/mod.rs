//! Connections to gRPC services and the unary calls over them.
//!
//! An [`Upstream`] is one service by its configured addresses. It keeps
//! HTTP/2 connections to every endpoint behind them, separately for each
//! worker thread, and sends each call over the less loaded of two.
//!
//! What a call says is none of its business: messages are bytes, methods are
//! paths. Descriptors, routes and the meaning of a status live elsewhere; only
//! [`reflection`] asks a server what it offers.

mod address;
mod call;
pub mod reflection;
mod tls;

use std::sync::Arc;

use bytes::Bytes;

pub use address::{Address, AddressError};
pub use call::{Call, CallError, Origin};
pub use tls::{Pem, TlsConfig};

/// What an upstream is made from. Two equal configurations make equal
/// upstreams, so a reload keeps the connections of one that did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name in the configuration, for logs and metrics.
    pub name: String,
    /// Where the service is; at least one. Kinds may be mixed.
    pub address: Vec<Address>,
    /// HTTP/2 connections per endpoint and worker, 1 to 64. Two to four break
    /// the lockstep in which a single one answers.
    pub connections: usize,
    /// How `https://` and `dns:///` addresses are secured. Absent: `https://`
    /// trusts the public web's roots, and `dns:///` is plain.
    pub tls: Option<TlsConfig>,
}

/// A configuration that no upstream can be made from.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The list of addresses is empty.
    #[error("upstream `{0}` has no address: name at least one, such as http://host:port")]
    NoAddress(String),
    /// `connections` is out of range.
    #[error("upstream `{name}`: connections is {given}, which must be 1 to 64")]
    Connections {
        /// The upstream's name.
        name: String,
        /// The value given.
        given: usize,
    },
    /// The TLS material cannot be used.
    #[error("upstream `{name}`: {reason}")]
    Tls {
        /// The upstream's name.
        name: String,
        /// What is wrong with it, and what would be right.
        reason: tls::TlsError,
    },
}

/// One gRPC service, shared by all workers.
///
/// Dropping the last reference closes its connections once the calls in flight
/// on them are finished.
pub struct Upstream {
    config: Config,
}

impl Upstream {
    /// Checks the configuration. Nothing is connected yet.
    ///
    /// `workers` is the number of threads that will call; each gets its own
    /// connections.
    pub fn new(config: Config, _workers: usize) -> Result<Self, UpstreamError> {
        Ok(Self { config })
    }

    /// What this was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Starts connecting for one worker, so that its first call need not wait.
    ///
    /// Must be called inside that worker's runtime. Calling it again, or for a
    /// worker that has already called, does nothing.
    pub fn warm(&self, _worker: usize) {}

    /// Makes one unary call over the connections of `worker`.
    ///
    /// The future must be polled inside that worker's runtime. It resolves
    /// within `call.timeout`, exactly once, and holds all it needs, so the
    /// upstream may be dropped meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, also together with any number of
    /// others: the answer is lost, the connection is not harmed.
    pub fn call(
        self: &Arc<Self>,
        _worker: usize,
        _call: Call,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + use<> {
        std::future::ready(Err(CallError {
            status: tonic::Status::unavailable("not built yet"),
            origin: Origin::Gateway,
            endpoint: None,
        }))
    }
}
