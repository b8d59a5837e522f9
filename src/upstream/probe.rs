//! Whether a gRPC server answers at an upstream's addresses: one connection to
//! each, with TLS where it is configured, until the peer has shown that it speaks
//! HTTP/2. No call is made.
//!
//! For checks of a configuration. Connections for calls are made elsewhere.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Upstream;
use super::dial::{CONNECT_TIMEOUT, DialError, Io, Target};
use super::greeting::{self, Ended};
use super::resolver;
use super::source::Source;

/// The preface of HTTP/2 (RFC 9113, 3.4), and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Bytes of an answer that are read, at most.
const ANSWER: u64 = 256;

/// Why no gRPC server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The failure.
    pub reason: String,
    /// The stage that it reached.
    pub kind: UnfitKind,
}

/// The stage that a connection reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfitKind {
    /// The name does not resolve, or the address cannot be connected to.
    Unreachable,
    /// A server answers, and the TLS handshake fails.
    Tls,
    /// A server answers, and does not speak HTTP/2, or not with TLS as configured.
    NotGrpc,
}

impl Unfit {
    fn not_grpc(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: UnfitKind::NotGrpc }
    }

    fn unreachable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: UnfitKind::Unreachable }
    }
}

impl From<DialError> for Unfit {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::Resolve(_) | DialError::Connect { .. } => UnfitKind::Unreachable,
            DialError::Tls { .. } => UnfitKind::Tls,
            DialError::NoTls { .. } | DialError::NoHttp2 { .. } => UnfitKind::NotGrpc,
        };
        Self { reason: error.to_string(), kind }
    }
}

/// Connects to all addresses of an upstream at once. One that does not run is
/// passed over while others do; one where something else answers is not.
///
/// Must be called inside a tokio runtime, not necessarily a worker's. Takes no
/// longer than a look-up and two connection attempts.
///
/// # Cancel safety
///
/// May be dropped at any time; the connections are closed.
pub async fn probe(upstream: &Upstream) -> Result<(), Unfit> {
    let outcomes = join_all(upstream.sources.iter().map(any_target)).await;
    let answers = outcomes.iter().any(Result::is_ok);
    let mut failures = outcomes.into_iter().filter_map(Result::err);
    let first = failures.next();
    let all = first.clone().into_iter().chain(failures);
    let wrong = all.into_iter().find(|failure| failure.kind != UnfitKind::Unreachable);
    match wrong.or(first.filter(|_| !answers)) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Connects to the first endpoint of a source that answers. The error is the
/// first one's.
async fn any_target(source: &Source) -> Result<(), Unfit> {
    let targets = match source {
        Source::Single(target) => vec![target.clone()],
        Source::Name(name) => resolver::resolve(&*name.resolver, &name.host)
            .await
            .map_err(|error| Unfit::unreachable(error.to_string()))?
            .into_iter()
            .map(|at| name.target(at))
            .collect(),
    };
    let limit = CONNECT_TIMEOUT / u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
    let mut failed = None;
    for target in &targets {
        match connect(target, limit).await {
            Ok(()) => return Ok(()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or_else(|| Unfit::unreachable("it has no address")))
}

/// Connects, and waits for the peer's beginning of HTTP/2, each within `limit`.
async fn connect(target: &Target, limit: Duration) -> Result<(), Unfit> {
    let label = &target.label;
    let stream = timeout(limit, target.dial()).await;
    let mut stream = stream.unwrap_or_else(|_| {
        let error = io::ErrorKind::TimedOut.into();
        Err(DialError::Connect { to: label.to_string(), error })
    })?;
    let silent = |_| Err(format!("{label} says nothing within {limit:?}"));
    let greeted = timeout(limit, greet(&mut *stream)).await.unwrap_or_else(silent);
    greeted.map_err(Unfit::not_grpc)
}

/// Waits for the peer's beginning of HTTP/2. The error describes other data.
async fn greet(stream: &mut dyn Io) -> Result<(), String> {
    let mut first = Vec::new();
    // A peer that stops reading at once may have sent a reason, which is read.
    let _ = stream.write_all(PREFACE).await;
    let _ = stream.flush().await;
    let exchange = async {
        let mut answer = stream.take(ANSWER);
        while !greeting::is_http2(&first) && answer.read_buf(&mut first).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let ended = match exchange.await {
        Ok(()) => Ended::Closed,
        Err(error) => Ended::Broken(error.to_string()),
    };
    match greeting::unwelcome(&first) {
        Some(_) => Err(greeting::explain(&first, &ended)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn peer(answer: &'static [u8]) -> DuplexStream {
        let (here, mut there) = tokio::io::duplex(1024);
        there.write_all(answer).await.unwrap();
        here
    }

    #[tokio::test]
    async fn a_peer_is_known_by_its_first_frame() {
        // SETTINGS, and more than is looked at.
        greet(&mut peer(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64").await).await.unwrap();
        for (answer, says) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "but HTTP/1"),
            (b"\x15\x03\x01\0\x02\x02\x46", "write https://"),
            (b"SSH-2.0-x\r\n", "it answered `SSH-2.0-x"),
            (b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b", "ENHANCE_YOUR_CALM"),
            (b"", "before it sent any data"),
        ] {
            let error = greet(&mut peer(answer).await).await.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
