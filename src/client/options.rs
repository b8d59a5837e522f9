//! Options for opening a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue};

use super::tls::Tls;
use crate::proto::session::SetCxnParamsReq;
use crate::protocol::seed::PublicKey;

/// Where to connect, and as which device.
#[derive(Debug, Clone)]
pub struct Options {
    /// `ws://host:port/path` or `wss://…`.
    pub url: String,
    /// Headers of the upgrade request, besides those of WebSocket itself.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How the gateway's certificate is checked; absent, against the public
    /// web's authorities. Without meaning for `ws://`.
    pub tls: Option<Tls>,
    /// The address of this machine to connect from; absent, the operating
    /// system chooses. One address has ports for some 28,000 connections to the
    /// same place.
    pub source: Option<IpAddr>,
    /// The device's setCxnParams. Absent, it is not sent: the session stays as the
    /// gateway opened it.
    pub device: Option<SetCxnParamsReq>,
    /// The gateway's public key: asks for encryption, with secrets made for
    /// this session. Without meaning where there is no `device`.
    pub encrypt: Option<Arc<PublicKey>>,
    /// How long opening the session may take, and every call by itself.
    pub timeout: Duration,
}

impl Options {
    /// Plain, ten seconds for everything, and a new web device of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            tls: None,
            source: None,
            device: Some(SetCxnParamsReq {
                package_id: format!("{:016x}", rand::random::<u64>()),
                platform: "web".to_owned(),
                device_id: format!("{:016x}", rand::random::<u64>()),
                device_model: "bridgehead".to_owned(),
                os_version: std::env::consts::OS.to_owned(),
                app_version: env!("CARGO_PKG_VERSION").to_owned(),
                language: "en".to_owned(),
                ..SetCxnParamsReq::default()
            }),
            encrypt: None,
            timeout: Duration::from_secs(10),
        }
    }
}
