//! Metrics that are sampled at each scrape instead of being counted.

use std::sync::Arc;
use std::time::SystemTime;

use super::admin::State;
use crate::auth::jwt::RemoteStatus;
use crate::hooks::{Event, Outcome};
use crate::metrics::{Family, Sample};
use crate::session::Services;
use crate::session::sweeper::Stage;
use crate::session::traffic::Volume;
use crate::tls::Tls;
use crate::upstream::{Counts, EndpointState, EndpointStatus, Upstream};

impl State {
    pub(super) fn sampled(&self) -> Vec<Family> {
        let services = self.services.load();
        let mut families = self.gateway();
        families.extend(self.sessions());
        families.extend(routes(&services));
        families.extend(fetched_keys(&services));
        families.extend(self.hooks());
        families.extend(upstreams(&services));
        families.extend(self.cluster());
        families
    }

    fn gateway(&self) -> Vec<Family> {
        let expires = |(listener, tls): &(&'static str, Arc<Tls>)| {
            let at = tls.expires()?;
            Some(Sample::new([("listener", (*listener).to_owned())], seconds(at)))
        };
        vec![
            Family::gauge(
                "build_info",
                "What is running.",
                vec![Sample::new([("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
            ),
            Family::gauge(
                "draining",
                "1 while the gateway drains before it stops.",
                vec![Sample::of(f64::from(self.news.is_draining()))],
            ),
            Family::gauge(
                "config_good_timestamp_seconds",
                "When the configuration was last read without a mistake.",
                vec![Sample::of(seconds(self.news.good_since()))],
            ),
            Family::gauge(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate of a listener, or one of its chain, expires.",
                self.tls.iter().filter_map(expires).collect(),
            ),
        ]
    }

    fn sessions(&self) -> Vec<Family> {
        let sessions = self.workers.sessions();
        let stage = |label: &str, stage: Stage| {
            let count = sessions.by_stage[stage as usize];
            Sample::new([("state", label.to_owned())], number(count as u64))
        };
        let (received, sent) = self.workers.traffic();
        let both = |of: fn(&Volume) -> u64| {
            let way = |way: &str, volume: &Volume| {
                Sample::new([("direction", way.to_owned())], number(of(volume)))
            };
            vec![way("received", &received), way("sent", &sent)]
        };
        let handshakes = self.keys.as_ref().map_or(0, |keys| keys.waiting());
        vec![
            Family::gauge(
                "sessions",
                "Open sessions, by how far they have come: connected, described (setCxnParams), \
                 authenticated (setUserParams), expired (a new login is waited for), closing.",
                vec![
                    stage("connected", Stage::Connected),
                    stage("described", Stage::Described),
                    stage("authenticated", Stage::Authenticated),
                    stage("expired", Stage::Expired),
                    stage("closing", Stage::Closing),
                ],
            ),
            Family::counter(
                "messages_total",
                "Binary messages of clients and to them.",
                both(|volume| volume.messages),
            ),
            Family::counter(
                "message_bytes_total",
                "Their bytes, without what WebSocket and TLS add.",
                both(|volume| volume.bytes),
            ),
            Family::gauge(
                "outbox_bytes",
                "Bytes that wait for clients to take them.",
                vec![Sample::of(number(sessions.outbox_bytes as u64))],
            ),
            Family::gauge(
                "encrypted_handshakes_waiting",
                "Handshakes that wait for the RSA operation.",
                vec![Sample::of(number(handshakes as u64))],
            ),
        ]
    }

    fn hooks(&self) -> Vec<Family> {
        let each = |event: Event| {
            Outcome::ALL.map(|outcome| {
                let labels =
                    [("hook", event.name().to_owned()), ("outcome", outcome.name().to_owned())];
                Sample::new(labels, number(self.workers.told(event, outcome)))
            })
        };
        vec![
            Family::gauge(
                "hook_events_waiting",
                "Events that wait for a call of their hook.",
                vec![Sample::of(number(self.workers.untold() as u64))],
            ),
            Family::counter(
                "hook_events_total",
                "Events, by hook: delivered, given up after a minute of attempts, or dropped without one.",
                Event::ALL.into_iter().flat_map(each).collect(),
            ),
        ]
    }

    fn cluster(&self) -> Vec<Family> {
        let Some(cluster) = self.broker.cluster() else { return Vec::new() };
        let gauge = |name, help, value: f64| Family::gauge(name, help, vec![Sample::of(value)]);
        vec![
            gauge(
                "cluster_connected",
                "1 while NATS can be reached.",
                f64::from(cluster.is_connected()),
            ),
            gauge(
                "cluster_gateways",
                "Other gateways that are there.",
                number(cluster.others().len() as u64),
            ),
            gauge(
                "cluster_users",
                "Users that this gateway listens for at NATS.",
                number(cluster.users() as u64),
            ),
        ]
    }
}

/// The keys for JWTs that are fetched from a URL. The counters are there
/// without it, too.
fn fetched_keys(services: &Services) -> Vec<Family> {
    let status = services.auth.fetched_keys();
    let gauge = |value: Option<f64>| value.map(Sample::of).into_iter().collect();
    let fetched_at = status.as_ref().and_then(|status| status.fetched_at);
    let since_epoch = fetched_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let count = |of: fn(&RemoteStatus) -> u64| number(status.as_ref().map_or(0, of));
    let by = |outcome: &str, of| Sample::new([("outcome", outcome.to_owned())], count(of));
    vec![
        Family::gauge(
            "jwks_keys",
            "Keys in use of the key set that is fetched for logins; 0: it could not be had yet.",
            gauge(status.as_ref().map(|status| number(status.keys as u64))),
        ),
        Family::gauge(
            "jwks_fetched_timestamp_seconds",
            "When the key set for logins was last fetched, or found unchanged.",
            gauge(since_epoch.map(|since| since.as_secs_f64().floor())),
        ),
        Family::counter(
            "jwks_fetches_total",
            "Fetches of the key set for logins: with a set (fetched), without an answer (unreachable), \
             with an answer that is none (invalid).",
            vec![
                by("fetched", |status| status.fetched),
                by("unreachable", |status| status.unreachable),
                by("invalid", |status| status.invalid),
            ],
        ),
        Family::counter(
            "jwks_unknown_keys_total",
            "Logins whose token's key was not in the key set.",
            vec![Sample::of(count(|status| status.unknown))],
        ),
    ]
}

fn routes(services: &Services) -> Vec<Family> {
    let count = |state: &str, count: usize| {
        Sample::new([("state", state.to_owned())], number(count as u64))
    };
    vec![Family::gauge(
        "routes",
        "Client methods, resolved or not because an upstream's descriptors are not known yet.",
        vec![
            count("resolved", services.calls.routes.len()),
            count("pending", services.calls.routes.pending().len()),
        ],
    )]
}

fn upstreams(services: &Services) -> Vec<Family> {
    let (mut endpoints, mut connections, mut in_flight) = (Vec::new(), Vec::new(), Vec::new());
    for upstream in &services.upstreams {
        let status = upstream.status();
        let label = || ("upstream", upstream.name().to_owned());
        let count = |state: &str, is_it: fn(&EndpointStatus) -> bool| {
            let count = status.iter().filter(|endpoint| is_it(endpoint)).count();
            Sample::new([label(), ("state", state.to_owned())], number(count as u64))
        };
        endpoints.extend([
            count("up", |it| it.state() == EndpointState::Up),
            count("unresponsive", |it| it.state() == EndpointState::Unresponsive),
            count("ejected", |it| it.state() == EndpointState::Ejected),
            count("down", |it| it.state() == EndpointState::Down),
        ]);
        let sum = |of: fn(&EndpointStatus) -> usize| {
            Sample::new([label()], number(status.iter().map(of).sum::<usize>() as u64))
        };
        connections.push(sum(|it| it.connections));
        in_flight.push(sum(|it| it.in_flight));
    }
    let counter = |name, help, of: fn(&Counts) -> u64| {
        let sample = |upstream: &Arc<Upstream>| {
            let label = ("upstream", upstream.name().to_owned());
            Sample::new([label], number(of(&upstream.counts())))
        };
        Family::counter(name, help, services.upstreams.iter().map(sample).collect())
    };
    vec![
        Family::gauge(
            "upstream_endpoints",
            "Endpoints by state: up, connected but without answers, ejected for a while by a worker, or down.",
            endpoints,
        ),
        Family::gauge("upstream_connections", "Established HTTP/2 connections.", connections),
        Family::gauge("upstream_calls_in_flight", "Calls that services are working on.", in_flight),
        counter("upstream_retries_total", "Calls that were sent once more.", |it| it.retries),
        counter("upstream_connects_total", "Connections that were made.", |it| it.connects),
        counter(
            "upstream_connect_failures_total",
            "Attempts to connect, or to look a name up, that failed, or lasted for a moment only.",
            |it| it.failures,
        ),
        counter(
            "upstream_disconnects_total",
            "Connections that were ended by the service, or by something between it and the gateway.",
            |it| it.disconnects,
        ),
        counter(
            "upstream_replacements_total",
            "Connections that were replaced, because they did not answer.",
            |it| it.replacements,
        ),
        counter(
            "upstream_ejections_total",
            "Times that a worker left an endpoint alone for a while.",
            |it| it.ejections,
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a quarter of a billion years")]
fn seconds(since_epoch: i64) -> f64 {
    since_epoch as f64
}
