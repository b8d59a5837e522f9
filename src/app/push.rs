//! The Push API as part of the gateway: from its section of routes.yaml to a
//! running server.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::problem::Problem;
use super::secrets;
use super::start_error::StartError;
use crate::broker::Broker;
use crate::config::{Config, PushConfig, PushTls, PushToken, Secret};
use crate::edge;
use crate::metrics::Metrics;
use crate::pem;
use crate::push::Server;
use crate::push::tokens::Tokens;
use crate::tls::{self, Tls};
use crate::trace::Tracing;

/// The parts of the running server that a reload changes.
#[derive(Clone, Default)]
pub(super) struct Door {
    tokens: Arc<Tokens>,
    tls: Option<Arc<Tls>>,
}

impl Door {
    /// Reads the certificates. Fails if the server could not use them.
    pub(super) fn new(config: &Config) -> Result<Self, Problem> {
        let Some(push) = &config.push else { return Ok(Self::default()) };
        let tls = push.tls.as_ref().map(|PushTls { cert, key, client_ca }| {
            let (cert, key, client_ca) = (cert.clone(), key.clone(), client_ca.clone());
            Tls::load(tls::Files { cert, key, client_ca }, tls::Protocol::Http2)
        });
        let tls = tls.transpose().map_err(|e| Problem::at(["push", "tls"], e.to_string()))?;
        let door = Self { tokens: Arc::default(), tls: tls.map(Arc::new) };
        door.tokens.replace(tokens(config)?.iter().map(|token| token.as_bytes()));
        Ok(door)
    }

    /// The certificate, with the section that names it.
    pub(super) fn certificate(&self) -> Option<(&'static str, Arc<Tls>)> {
        Some(("push", Arc::clone(self.tls.as_ref()?)))
    }

    /// Takes over the tokens of a new configuration.
    pub(super) fn take_over(&self, tokens: &[Zeroizing<String>]) {
        // Without a section, or tokens, the door stays as it was: only a restart
        // removes it.
        if !tokens.is_empty() {
            self.tokens.replace(tokens.iter().map(|token| token.as_bytes()));
        }
    }

    /// Reads the certificates and the files of tokens again: they are replaced even
    /// if there are other errors.
    pub(super) fn read_again(&self, running: Option<&PushConfig>) -> bool {
        let is_tls_good = match self.tls.as_ref().map(|tls| tls.reload()) {
            Some(Ok(())) => {
                tracing::info!("push API certificates read again");
                true
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the push API's new TLS certificates are refused, the old ones stay in use");
                false
            }
            None => true,
        };
        let Some(running) = running.filter(|push| push.tokens.iter().any(is_file)) else {
            return is_tls_good;
        };
        match all(running) {
            Ok(tokens) => {
                self.take_over(&tokens);
                tracing::info!("push API tokens read again");
                is_tls_good
            }
            Err(problem) => {
                let error = problem.message;
                tracing::error!(%error, "the push API's new tokens are refused, the old ones stay in use");
                false
            }
        }
    }
}

/// The tokens of a configuration, those in files included.
pub(super) fn tokens(config: &Config) -> Result<Vec<Zeroizing<String>>, Problem> {
    config.push.as_ref().map_or(Ok(Vec::new()), all)
}

fn all(push: &PushConfig) -> Result<Vec<Zeroizing<String>>, Problem> {
    let tokens = push.tokens.iter().enumerate();
    tokens.map(|(nth, token)| read(&nth.to_string(), token)).collect()
}

fn is_file(token: &PushToken) -> bool {
    matches!(token, PushToken::Long(long) if long.token_file.is_some())
}

fn read(nth: &str, token: &PushToken) -> Result<Zeroizing<String>, Problem> {
    // A token that is not valid in a header can never be sent by a caller.
    let owned = |secret: &Secret| match pem::secret(secret.expose().as_bytes()) {
        Ok(token) => Ok(Zeroizing::new(token.to_owned())),
        Err(_) => Err(Problem {
            help: Some("a token is one line of visible ASCII, 8 KiB at most".to_owned()),
            ..Problem::at(["push", "tokens", nth], "no caller can send this token in a header")
        }),
    };
    let long = match token {
        PushToken::Text(secret) => return owned(secret),
        PushToken::Long(long) => long,
    };
    match (&long.token, &long.token_file) {
        (Some(secret), _) => owned(secret),
        (None, Some(path)) => secrets::read(path)
            .map_err(|message| Problem::at(["push", "tokens", nth, "token_file"], message)),
        // Reported when the file was read.
        (None, None) => Err(Problem::at(["push", "tokens", nth], "there is no token")),
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

/// Starts the server on its bound listener, and returns its address.
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
