//! Why a gateway does not start.

use std::io;
use std::net::SocketAddr;

use crate::config::Diagnostics;

/// The reason why a gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Diagnostics),
    /// The listener's address cannot be had.
    #[error("cannot listen on {address} (edge.listen): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The push API's address cannot be had.
    #[error("cannot listen on {address} (push.listen): {source}")]
    PushListen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The admin address cannot be had.
    #[error("cannot listen on {address} (admin.listen): {source}")]
    AdminListen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The push API cannot be served.
    #[error(transparent)]
    Push(#[from] crate::push::StartError),
    /// The gateway cannot be one of a cluster.
    #[error(transparent)]
    Cluster(#[from] crate::broker::cluster::LinkError),
    /// The system gives no threads.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether an address is in use already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Listen { source, .. }
            | Self::PushListen { source, .. }
            | Self::AdminListen { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }
}
