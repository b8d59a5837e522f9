//! From a name to addresses.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::address::HostPort;

/// How long one look-up may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The future result of a look-up.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Resolves the names in addresses. Upstreams use [`SystemResolver`] unless
/// they are made with another.
pub trait Resolver: Send + Sync {
    /// Every address of a host, the preferred one first. `host` may be an IP
    /// address, an IPv6 one without brackets. The look-up may be dropped.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a>;
}

/// The operating system's resolver: `/etc/hosts`, search domains and all.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }
}

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {host}: {error}")]
pub(super) struct ResolveError {
    host: String,
    error: io::Error,
}

/// At least one address of a host, each once, in the resolver's order.
pub(super) async fn resolve(
    resolver: &dyn Resolver,
    at: &HostPort,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let error = |error| ResolveError { host: at.host().to_owned(), error };
    let found = timeout(TIMEOUT, resolver.resolve(at.host(), at.port()))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(error)?;
    let mut addresses = Vec::with_capacity(found.len());
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(error(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

impl fmt::Debug for dyn Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
