//! The Push API as part of the gateway: from its section of routes.yaml to a
//! running server.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::StartError;
use super::resolve::Problem;
use crate::broker::Broker;
use crate::config::{Config, PushConfig, PushTls, Secret};
use crate::edge;
use crate::metrics::Metrics;
use crate::push::Server;
use crate::push::tokens::Tokens;
use crate::tls::{self, Tls};
use crate::trace::Tracing;

/// What a reload changes of the running server.
#[derive(Clone, Default)]
pub(super) struct Door {
    tokens: Arc<Tokens>,
    tls: Option<Arc<Tls>>,
}

impl Door {
    /// Reads the certificates. Everything is wrong that the server could stumble over.
    pub(super) fn new(config: &Config) -> Result<Self, Problem> {
        let Some(push) = &config.push else { return Ok(Self::default()) };
        let tls = push.tls.as_ref().map(|PushTls { cert, key, client_ca }| {
            let (cert, key, client_ca) = (cert.clone(), key.clone(), client_ca.clone());
            Tls::load(tls::Files { cert, key, client_ca }, tls::Protocol::Http2)
        });
        let tls = tls.transpose().map_err(|e| Problem::at(["push", "tls"], e.to_string()))?;
        let door = Self { tokens: Arc::default(), tls: tls.map(Arc::new) };
        door.tokens.replace(push.tokens.iter().map(Secret::expose));
        Ok(door)
    }

    /// The certificate, with the section that names it.
    pub(super) fn certificate(&self) -> Option<(&'static str, Arc<Tls>)> {
        Some(("push", Arc::clone(self.tls.as_ref()?)))
    }

    /// Takes over the tokens of a new configuration.
    pub(super) fn take_over(&self, config: Option<&PushConfig>) {
        // Without a section, or tokens, the door stays as it was: a restart
        // takes it away.
        let tokens = config.map(|push| &push.tokens).filter(|tokens| !tokens.is_empty());
        if let Some(tokens) = tokens {
            self.tokens.replace(tokens.iter().map(Secret::expose));
        }
    }

    /// Reads the certificates again: they change whatever else is wrong.
    pub(super) fn read_again(&self) {
        match self.tls.as_ref().map(|tls| tls.reload()) {
            Some(Ok(())) => tracing::info!("push API certificates read again"),
            Some(Err(error)) => {
                tracing::error!(%error, "the push API's old TLS certificates go on");
            }
            None => {}
        }
    }
}

/// Binds the listener, if there is to be one.
pub(super) fn bind(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(push) = &config.push else { return Ok(None) };
    let address = push.listen;
    let bound = edge::bind::bind(address, 1);
    let bound = bound.map_err(|source| StartError::PushListen { address, source })?;
    Ok(bound.into_iter().next())
}

/// Starts the server on its bound listener, and says where that is.
pub(super) async fn serve(
    listener: TcpListener,
    door: &Door,
    broker: &Arc<Broker>,
    metrics: &Metrics,
    tracing: Option<Arc<Tracing>>,
) -> Result<(Server, SocketAddr), StartError> {
    let address = listener.local_addr()?;
    let tokens = Arc::clone(&door.tokens);
    let server = Server::start(
        listener,
        door.tls.clone(),
        tokens,
        Arc::clone(broker),
        &metrics.pushes,
        tracing,
    )
    .await?;
    tracing::info!(%address, tls = door.tls.is_some(), "push API listening");
    Ok((server, address))
}

/// What the gateway is called among others: the name of its machine, which in
/// Kubernetes is that of its pod.
pub(super) fn node() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().or_else(from_kernel).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { format!("{:08x}", rand::random::<u32>()) } else { name.to_owned() }
}
