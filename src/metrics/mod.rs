//! Metrics, for the operator on call.
//!
//! One [`Metrics`] a gateway. Every counting part holds the handle of its own
//! series; nothing on the path of a request looks one up. Quantities available at
//! any time (sessions, connections, queues) are not counted but [sampled](Family)
//! on a scrape.
//!
//! Labels have few values: routes, upstreams, codes, outcomes. Nothing that a
//! client can choose is one. Labels with known values are types ([`Label`]), and
//! all of their series exist from the start.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod counters;
mod labels;
mod requests;
mod samples;
mod series;

use std::sync::Arc;

use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};

pub use counters::{Counters, Histograms};
pub(crate) use labels::labels;
pub use labels::{
    Asked, CloseCode, Confirmation, ConnectionRefusal, HandshakeOutcome, Label, Labels,
    LoginOutcome, PushRefusal, ReceiptOutcome, ReloadOutcome, ReviewCause, status_label,
    status_text,
};
pub use requests::{Requests, Route};
pub use samples::{Family, Kind, Sample};
pub(crate) use series::New;
use series::add;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    /// Connections and sessions.
    pub sessions: Sessions,
    /// Requests and the calls that they become.
    pub requests: Requests,
    /// The push API.
    pub pushes: Pushes,
    /// The gateway among others.
    pub cluster: Cluster,
    /// Configurations that were read again.
    pub reloads: Counters<ReloadOutcome>,
}

/// Connections and sessions.
#[derive(Clone)]
pub struct Sessions {
    /// Sockets that were accepted.
    pub accepted: IntCounter,
    /// Sockets that the system did not hand over.
    pub failed: IntCounter,
    /// Connections that did not become a session.
    pub refused: Counters<ConnectionRefusal>,
    /// Sessions that have ended.
    pub closed: Counters<CloseCode>,
    /// Logins.
    pub logins: Counters<LoginOutcome>,
    /// Judgements of sessions that have logged in.
    pub reviews: Counters<(ReviewCause, LoginOutcome)>,
    /// Encrypted handshakes.
    pub handshakes: Counters<HandshakeOutcome>,
}

/// The push API.
#[derive(Clone)]
pub struct Pushes {
    /// Calls that were refused.
    pub refused: Counters<PushRefusal>,
    /// Pushes whose receipts are not complete yet.
    pub in_progress: IntGauge,
    /// Pushes, by the confirmation that was asked for.
    pub pushes: Counters<Confirmation>,
    /// Receipts.
    pub receipts: Counters<ReceiptOutcome>,
    /// From a push to each receipt that confirms it.
    pub seconds: Histograms<Confirmation>,
    /// Sessions that were kicked, here or elsewhere.
    pub kicked: IntCounter,
    /// Watches that are open.
    pub watches: IntGauge,
}

/// The gateway among others. See `broker::cluster`.
#[derive(Clone)]
pub struct Cluster {
    /// Questions to the gateways that hold a user.
    pub asked_holders: IntCounter,
    /// Questions to all gateways.
    pub asked_all: IntCounter,
    /// Questions of others about a user.
    pub heard_as_holder: IntCounter,
    /// Questions of others to all.
    pub heard_as_all: IntCounter,
    /// Messages that answer others' questions.
    pub answers: IntCounter,
    /// Logins at other gateways of users that are here.
    pub logins: IntCounter,
    /// Questions that could not be asked.
    pub unasked: IntCounter,
    /// Gateways that were lost.
    pub lost: IntCounter,
    /// Connections to NATS that were made.
    pub connects: IntCounter,
}

impl Metrics {
    /// Metrics that start at nothing.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        // Only Linux has it; elsewhere these metrics are missing.
        #[cfg(target_os = "linux")]
        add(&registry, prometheus::process_collector::ProcessCollector::for_self());
        let new = New(&registry);
        Arc::new(Self {
            sessions: new.sessions(),
            requests: Requests::new(&new),
            pushes: new.pushes(),
            cluster: new.cluster(),
            reloads: new
                .counters("reloads_total", "Reloads of the configuration, by their outcome."),
            registry,
        })
    }

    /// All metrics, including the sampled ones, in Prometheus' text format.
    pub fn render(&self, sampled: Vec<Family>) -> String {
        let mut families = self.registry.gather();
        families.extend(sampled.into_iter().filter_map(Family::into_proto));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            // Fails only for metrics that have no text form.
            return format!("# {error}\n");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl New<'_> {
    fn sessions(&self) -> Sessions {
        Sessions {
            accepted: self.counter("connections_accepted_total", "Sockets that were accepted."),
            failed: self.counter(
                "accept_errors_total",
                "Sockets that the system did not hand over, such as for want of file descriptors.",
            ),
            refused: self.counters(
                "connections_refused_total",
                "Connections that did not become a session: too many in all or from one address (closed \
                 with 1013, or dropped), TLS or HTTP that failed or took too long, or a foreign origin.",
            ),
            closed: self.counters(
                "sessions_closed_total",
                "Sessions that have ended, by WebSocket close code.",
            ),
            logins: self.counters("logins_total", "Logins, by their outcome."),
            reviews: self.counters(
                "login_reviews_total",
                "Judgements of sessions that have logged in: as another device, again after a while, \
                 or for a request; and their outcome.",
            ),
            handshakes: self.counters(
                "encrypted_handshakes_total",
                "Handshakes that turn encryption on: done, shed because too many wait for the RSA \
                 operation, or with a ciphertext of the wrong length.",
            ),
        }
    }

    fn pushes(&self) -> Pushes {
        Pushes {
            refused: self.counters(
                "push_calls_refused_total",
                "Calls of the push API without a valid token, or with invalid arguments.",
            ),
            in_progress: self
                .gauge("pushes_in_progress", "Pushes whose receipts are not complete yet."),
            pushes: self.counters(
                "pushes_total",
                "Pushes of backends, by the confirmation that they ask for.",
            ),
            receipts: self.counters("push_receipts_total", "Receipts of pushes, by outcome."),
            seconds: self.histograms(
                "push_confirmation_seconds",
                "From a push to a receipt that confirms it.",
            ),
            kicked: self.counter("sessions_kicked_total", "Sessions that backends have kicked."),
            watches: self.gauge("watches", "Backends that watch sessions."),
        }
    }

    fn cluster(&self) -> Cluster {
        let asked: Counters<Asked> = self.counters(
            "cluster_questions_total",
            "Pushes, kicks and lists that went to other gateways: to those that hold a user, or to all.",
        );
        let heard: Counters<Asked> = self.counters(
            "cluster_questions_heard_total",
            "Pushes, kicks and lists of other gateways, as a holder of a user or as one of all.",
        );
        Cluster {
            asked_holders: asked.of(Asked::Holders).clone(),
            asked_all: asked.of(Asked::All).clone(),
            heard_as_holder: heard.of(Asked::Holders).clone(),
            heard_as_all: heard.of(Asked::All).clone(),
            answers: self.counter("cluster_answers_total", "Messages that answer other gateways."),
            logins: self.counter(
                "cluster_logins_heard_total",
                "Logins at other gateways of users that are here.",
            ),
            unasked: self.counter(
                "cluster_questions_lost_total",
                "Questions that could not be asked: there was no connection to NATS.",
            ),
            lost: self.counter("cluster_gateways_lost_total", "Other gateways that fell silent."),
            connects: self.counter("cluster_connects_total", "Connections to NATS."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_can_be_read() {
        let metrics = Metrics::new();
        metrics.sessions.closed.inc(3004.into());
        metrics.sessions.closed.inc(4711.into());
        metrics.requests.route("/v1/a", "msg").done(0, std::time::Duration::from_millis(3));
        let text = metrics.render(vec![Family {
            name: "sessions",
            help: "Sessions.",
            kind: Kind::Gauge,
            samples: vec![Sample::new([("state", "connected".to_owned())], 3.0)],
        }]);
        for line in [
            "bridgehead_sessions_closed_total{code=\"3004\"} 1",
            "bridgehead_sessions_closed_total{code=\"other\"} 1",
            "bridgehead_requests_total{code=\"Success\",route=\"/v1/a\"} 1",
            "bridgehead_request_duration_seconds_bucket{route=\"/v1/a\",le=\"0.005\"} 1",
            "bridgehead_sessions{state=\"connected\"} 3",
            "# TYPE bridgehead_sessions gauge",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
