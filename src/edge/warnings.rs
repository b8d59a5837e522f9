//! Warnings of the client listener that any connecting peer can cause. All
//! workers share them, so that each kind is logged once a minute for the gateway
//! as a whole, with the number of omitted ones. All are counted.

use std::net::IpAddr;

use super::admission::Refused;
use super::proxy_protocol::Broken;
use crate::seldom::Seldom;

/// When each of them was logged last.
#[derive(Debug, Default)]
pub struct Warnings {
    /// A PROXY header that is missing, broken or not allowed.
    broken_headers: Seldom,
    /// A PROXY header without `edge.proxy_protocol`.
    unexpected_headers: Seldom,
    full: Seldom,
    per_address: Seldom,
    drops: Seldom,
    accepting: Seldom,
}

impl Warnings {
    pub(super) fn broken_header(&self, peer: IpAddr, wrong: &Broken) {
        match self.broken_headers.is_due() {
            Some(left_out) => tracing::warn!(
                %peer, left_out,
                "connection closed: {wrong}; the next such warning in a minute"
            ),
            None => tracing::debug!(%peer, "connection closed: {wrong}"),
        }
    }

    pub(super) fn unexpected_header(&self, peer: IpAddr) {
        match self.unexpected_headers.is_due() {
            Some(left_out) => tracing::warn!(
                %peer, left_out,
                "connection refused: it begins with a PROXY header, and edge.proxy_protocol is off; \
                 if a load balancer of yours sends it, set edge.proxy_protocol, and the load \
                 balancer's address in edge.trusted_proxies; the next such warning in a minute"
            ),
            None => tracing::debug!(%peer, "connection refused: it begins with a PROXY header"),
        }
    }

    pub(super) fn refused(&self, peer: IpAddr, why: Refused) {
        let (warnings, key) = match why {
            Refused::Full => (&self.full, "edge.max_connections"),
            Refused::PerAddress => (&self.per_address, "edge.max_connections_per_ip"),
        };
        let reason = why.text();
        match warnings.is_due() {
            Some(left_out) => tracing::warn!(
                %peer, reason, key, left_out,
                "connection closed with 1013; the next such warning in a minute"
            ),
            None => tracing::debug!(%peer, reason, "connection closed with 1013"),
        }
    }

    pub(super) fn dropped(&self, peer: IpAddr) {
        if let Some(left_out) = self.drops.is_due() {
            tracing::warn!(
                %peer, left_out,
                "connection dropped: full, and too many are being closed with 1013; the next such warning in a minute"
            );
        }
    }

    pub(super) fn not_accepted(&self, error: &std::io::Error) {
        if let Some(left_out) = self.accepting.is_due() {
            tracing::warn!(
                %error, left_out,
                "cannot accept a connection; the next such warning in a minute"
            );
        }
    }
}
