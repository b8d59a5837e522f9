//! The meaning of a configured address: one endpoint, or a name that stands
//! for many.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;
use tokio_rustls::TlsConnector;

use super::address::{Address, HostPort};
use super::dial::{Place, Secured, Target};
use super::resolver::Resolver;
use super::tls::{self, TlsConfig, TlsError};

/// Where endpoints come from.
#[derive(Clone)]
pub(super) enum Source {
    /// An address that is one endpoint.
    Single(Target),
    /// A name; each of its addresses is an endpoint.
    Name(Name),
}

/// A `dns:///` address.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) label: Arc<str>,
    pub(super) host: HostPort,
    pub(super) resolver: Arc<dyn Resolver>,
    tls: Option<Secured>,
}

impl Source {
    /// Its name in the configuration.
    pub(super) fn label(&self) -> &Arc<str> {
        match self {
            Self::Single(target) => &target.label,
            Self::Name(name) => &name.label,
        }
    }
}

impl Name {
    /// The endpoint at one of the name's addresses.
    pub(super) fn target(&self, address: SocketAddr) -> Target {
        Target {
            label: format!("{} ({address})", self.label).into(),
            authority: self.host.authority().clone(),
            at: Place::Socket(address),
            tls: self.tls.clone(),
        }
    }
}

/// Makes the sources of a list of addresses, each secured as its scheme says.
pub(super) fn sources(
    addresses: &[Address],
    tls: Option<&TlsConfig>,
    resolver: &Arc<dyn Resolver>,
) -> Result<Vec<Source>, TlsError> {
    let is_secured = |address: &Address| match address {
        Address::Https(_) => true,
        Address::Dns(_) => tls.is_some(),
        Address::Http(_) | Address::Unix(_) => false,
    };
    if tls.is_some() && !addresses.iter().any(is_secured) {
        return Err(TlsError::Unused);
    }
    let default = TlsConfig::default();
    let settings = tls.unwrap_or(&default);
    let connector = if addresses.iter().any(is_secured) {
        Some(TlsConnector::from(tls::client_config(settings)?))
    } else {
        None
    };
    let secured = |host: &HostPort| -> Result<Option<Secured>, TlsError> {
        let Some(connector) = connector.clone() else { return Ok(None) };
        let name = tls::server_name(settings.domain.as_deref(), host.host())?;
        Ok(Some(Secured { connector, name }))
    };

    let at_host = |address: &Address, host: &HostPort| {
        let place = Place::Host(host.clone(), Arc::clone(resolver));
        Target::new(address, place, host.authority().clone())
    };
    let source = |address: &Address| -> Result<Source, TlsError> {
        Ok(match address {
            Address::Http(host) => Source::Single(at_host(address, host)),
            Address::Https(host) => {
                Source::Single(Target { tls: secured(host)?, ..at_host(address, host) })
            }
            Address::Unix(path) => {
                // As gRPC's implementations do where there is no host.
                let authority = Authority::from_static("localhost");
                Source::Single(Target::new(address, Place::Unix(path.clone()), authority))
            }
            Address::Dns(host) => Source::Name(Name {
                label: address.to_string().into(),
                host: host.clone(),
                resolver: Arc::clone(resolver),
                tls: if tls.is_some() { secured(host)? } else { None },
            }),
        })
    };
    addresses.iter().map(source).collect()
}
