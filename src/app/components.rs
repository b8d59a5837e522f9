//! From the model of routes.yaml to the configuration of each component.

use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::secrets;
use super::stop::Drain;
use crate::config::{
    Auth, Authorization, ClientTls, Config, DeviceIdFrom, ErrorCodes, IdentityDepth, OneSessionPer,
    PathConfig, Rivals, UpstreamConfig, UpstreamMetadata,
};
use crate::edge;
use crate::proto::session::response_body;
use crate::protocol::Protocol;
use crate::registry;
use crate::routing::{Depth, StatusCodes};
use crate::session::{
    self,
    sweeper::{Holding, Timeouts},
};
use crate::upstream::{self, Address, Pem, Rules, TlsConfig};

pub(super) fn edge(config: &Config) -> edge::Config {
    let edge = &config.edge;
    edge::Config {
        paths: edge
            .paths()
            .into_iter()
            .map(|(path, PathConfig { server_iv })| edge::ClientPath {
                path: path.to_owned(),
                protocol: Protocol::Seed { server_iv },
            })
            .collect(),
        allowed_origins: edge.allowed_origins.clone(),
        trusted_proxies: edge.trusted_proxies.clone(),
        // No header if the name is not valid, which has been reported.
        client_address: edge::ClientAddress::named(&edge.client_address)
            .unwrap_or(edge::ClientAddress::Connection),
        proxy_protocol: edge.proxy_protocol,
        handshake_timeout: config.session.handshake_timeout,
        max_connections: edge.max_connections as usize,
        max_connections_per_ip: edge.max_connections_per_ip as usize,
        continue_traces: config.tracing.as_ref().is_some_and(|it| it.continue_client_traces),
    }
}

pub(super) fn session(config: &Config) -> session::Config {
    let session = &config.session;
    session::Config {
        platforms: session.platforms.clone(),
        device_is_package: session.device_id_from == DeviceIdFrom::PackageId,
        require_encryption: session.require_encryption,
        max_in_flight: session.max_in_flight as usize,
        outbox: bytes(session.outbox),
        max_message: bytes(config.edge.max_message),
        timeouts: Timeouts {
            handshake: session.handshake_timeout,
            login: session.login_timeout,
            ping_interval: session.ping_interval,
            pong: session.pong_timeout,
        },
    }
}

/// How long logins hold.
pub(super) fn holding(auth: &Auth) -> Holding {
    Holding { grace: auth.grace, recheck: (!auth.recheck.is_zero()).then_some(auth.recheck) }
}

pub(super) fn one_session_per(config: &Config) -> registry::OneSessionPer {
    match &config.session.one_session_per {
        OneSessionPer::By(Rivals::Device) => registry::OneSessionPer::Device,
        OneSessionPer::By(Rivals::Platform) => registry::OneSessionPer::Platform,
        OneSessionPer::By(Rivals::User) => registry::OneSessionPer::User,
        OneSessionPer::By(Rivals::None) => registry::OneSessionPer::None,
        OneSessionPer::Classes(classes) => registry::OneSessionPer::class(classes.values()),
    }
}

pub(super) fn drain(config: &Config) -> Drain {
    Drain { delay: config.drain.delay, period: config.drain.period }
}

/// An upstream's configuration, or the wrong key with the error.
pub(super) fn upstream(
    name: &str,
    config: &UpstreamConfig,
) -> Result<upstream::Config, (&'static str, String)> {
    let address = config.address.iter().map(|address| Address::parse(address));
    let address = address.collect::<Result<_, _>>().map_err(|e| ("address", e.to_string()))?;
    let tls = config.tls.as_ref().map(client_tls).transpose().map_err(|e| ("tls", e))?;
    let connections = config.connections as usize;
    Ok(upstream::Config { name: name.to_owned(), address, connections, tls })
}

/// Changes to the metadata of an upstream's calls, or the wrong key with the
/// error.
pub(super) fn rules(
    config: &UpstreamMetadata,
) -> Result<Option<Arc<Rules>>, (Vec<String>, String)> {
    let drops_token = config.authorization == Authorization::Drop;
    let own = config.drop.iter().map(|own| HeaderName::from_static(own.name()));
    let drop = drops_token.then_some(AUTHORIZATION).into_iter().chain(own).collect();
    let mut set = HeaderMap::new();
    for (name, source) in &config.set {
        let wrong = |message| (vec!["set".to_owned(), name.clone()], message);
        let key = HeaderName::try_from(name).map_err(|error| wrong(error.to_string()))?;
        let value = secrets::from(source).map_err(wrong)?;
        set.insert(key, metadata_value(&value).map_err(|text| wrong(text.to_owned()))?);
    }
    let rules = Rules::new(drop, set);
    Ok((!rules.is_empty()).then(|| Arc::new(rules)))
}

/// gRPC's ASCII-Value. Errors never repeat it, as it may be a secret.
fn metadata_value(text: &str) -> Result<HeaderValue, &'static str> {
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if text.trim() != text || !text.bytes().all(is_visible) {
        return Err("the value cannot be sent: write visible ASCII, without spaces at its ends");
    }
    HeaderValue::from_str(text).map_err(|_| "the value cannot be sent: write visible ASCII")
}

fn client_tls(tls: &ClientTls) -> Result<TlsConfig, String> {
    let read = |path: &Option<std::path::PathBuf>| {
        path.as_deref().map(read_pem).transpose().map_err(|error| error.to_string())
    };
    Ok(TlsConfig {
        ca: read(&tls.ca)?,
        cert: read(&tls.cert)?,
        key: read(&tls.key)?,
        domain: tls.domain.clone(),
    })
}

fn read_pem(path: &Path) -> Result<Pem, upstream::TlsError> {
    Pem::read(path)
}

/// `base` with the rows of `overrides` instead of its own.
pub(super) fn status_codes(base: &StatusCodes, overrides: &ErrorCodes) -> StatusCodes {
    overrides.iter().fold(base.clone(), |codes, (status, code)| {
        codes.with(tonic::Code::from(*status), response_body::Code::from(*code) as i32)
    })
}

/// How far below a request the identity is filled.
pub(super) fn depth(depth: IdentityDepth) -> Depth {
    match depth {
        IdentityDepth::Top => Depth::Top,
        IdentityDepth::Nested => Depth::Nested,
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
