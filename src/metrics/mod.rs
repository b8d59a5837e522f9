//! What is counted, for whoever is on call.
//!
//! One [`Metrics`] a gateway. Whoever counts holds the handle of its own
//! series; nothing on the way of a request looks for one. What can be asked
//! for at any time (sessions, connections, queues) is not counted but
//! [sampled](Family) when somebody looks.
//!
//! Labels have few values: routes, upstreams, codes, outcomes. Nothing that a
//! client can choose is one.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod labels;
mod requests;
mod samples;
mod series;

use std::sync::Arc;

use prometheus::{
    Encoder, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
};

pub use labels::{status_label, status_text};
pub use requests::{Requests, Route};
pub use samples::{Family, Kind, Sample};
pub(crate) use series::New;
use series::add;

/// The type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that one gateway counts.
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
    /// Configurations that were read again: by `outcome`, `ok` or `refused`.
    pub reloads: IntCounterVec,
}

/// Connections and sessions.
#[derive(Clone)]
pub struct Sessions {
    /// Sockets that were accepted.
    pub accepted: IntCounter,
    /// Sockets that the system did not hand over.
    pub failed: IntCounter,
    /// Connections that did not become a session, by `reason`.
    pub refused: IntCounterVec,
    /// Sessions that have ended, by close code.
    pub closed: IntCounterVec,
    /// Logins by `outcome`: `accepted`, `refused`, `unavailable`.
    pub logins: IntCounterVec,
    /// Judgements of sessions that have logged in, by `cause` (`device`,
    /// `recheck`, `request`) and `outcome`.
    pub reviews: IntCounterVec,
    /// Encrypted handshakes by `outcome`: `done`, `shed` for want of CPU,
    /// `malformed`.
    pub handshakes: IntCounterVec,
}

/// The push API.
#[derive(Clone)]
pub struct Pushes {
    /// Calls that were refused, by `reason`: `unauthenticated`, `invalid`.
    pub refused: IntCounterVec,
    /// Pushes whose receipts are not complete yet.
    pub in_progress: IntGauge,
    /// Pushes, by the confirmation that was asked for.
    pub pushes: IntCounterVec,
    /// Receipts, by outcome.
    pub receipts: IntCounterVec,
    /// From a push to each receipt that confirms it, by confirmation.
    pub seconds: HistogramVec,
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
        // Only Linux has it; elsewhere there is nothing to tell.
        #[cfg(target_os = "linux")]
        add(&registry, prometheus::process_collector::ProcessCollector::for_self());
        let new = New(&registry);
        let metrics = Self {
            sessions: new.sessions(),
            requests: Requests::new(&new),
            pushes: new.pushes(),
            cluster: new.cluster(),
            reloads: new.counters(
                "reloads_total",
                "Reloads of the configuration, by their outcome.",
                &["outcome"],
            ),
            registry,
        };
        metrics.begin();
        Arc::new(metrics)
    }

    /// Series that are there from the start, so that the first event of a kind
    /// is an increase.
    fn begin(&self) {
        let each = |counters: &IntCounterVec, values: &[&str]| {
            for value in values {
                counters.with_label_values(&[value]);
            }
        };
        each(&self.sessions.refused, labels::CONNECTION_REFUSALS);
        each(&self.sessions.logins, &["accepted", "refused", "unavailable"]);
        for cause in ["device", "recheck", "request"] {
            for outcome in ["accepted", "refused", "unavailable"] {
                self.sessions.reviews.with_label_values(&[cause, outcome]);
            }
        }
        each(&self.sessions.handshakes, &["done", "shed", "malformed"]);
        each(&self.sessions.closed, labels::CLOSE_CODES);
        for refusal in labels::REFUSALS {
            self.requests.refused.with_label_values(refusal);
        }
        each(&self.pushes.refused, &["unauthenticated", "invalid"]);
        each(&self.pushes.pushes, &["queued", "written", "acknowledged"]);
        each(&self.pushes.receipts, labels::OUTCOMES);
        each(&self.reloads, &["ok", "refused"]);
        for confirm in ["queued", "written", "acknowledged"] {
            self.pushes.seconds.with_label_values(&[confirm]);
        }
    }

    /// Everything, with what was sampled, as Prometheus reads it.
    pub fn render(&self, sampled: Vec<Family>) -> String {
        let mut families = self.registry.gather();
        families.extend(sampled.into_iter().filter_map(Family::into_proto));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            // Only what is not text cannot be written as text.
            return format!("# {error}\n");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Sessions {
    /// A session has ended.
    pub fn close(&self, code: u16) {
        self.closed.with_label_values(&[labels::close_label(code)]).inc();
    }

    /// A session that has logged in was judged, for this cause and with this outcome.
    pub fn review(&self, cause: &str, outcome: &str) {
        self.reviews.with_label_values(&[cause, outcome]).inc();
    }

    /// A connection did not become a session.
    pub fn refuse(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
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
                &["reason"],
            ),
            closed: self.counters(
                "sessions_closed_total",
                "Sessions that have ended, by WebSocket close code.",
                &["code"],
            ),
            logins: self.counters("logins_total", "Logins, by their outcome.", &["outcome"]),
            reviews: self.counters(
                "login_reviews_total",
                "Judgements of sessions that have logged in: as another device, again after a while, \
                 or for a request; and their outcome.",
                &["cause", "outcome"],
            ),
            handshakes: self.counters(
                "encrypted_handshakes_total",
                "Handshakes that turn encryption on: done, shed because too many wait for the RSA \
                 operation, or with a ciphertext of the wrong length.",
                &["outcome"],
            ),
        }
    }

    fn pushes(&self) -> Pushes {
        Pushes {
            refused: self.counters(
                "push_calls_refused_total",
                "Calls of the push API without a valid token, or with invalid arguments.",
                &["reason"],
            ),
            in_progress: self
                .gauge("pushes_in_progress", "Pushes whose receipts are not complete yet."),
            pushes: self.counters(
                "pushes_total",
                "Pushes of backends, by the confirmation that they ask for.",
                &["confirm"],
            ),
            receipts: self.counters(
                "push_receipts_total",
                "Receipts of pushes, by outcome.",
                &["outcome"],
            ),
            seconds: self.histograms(
                "push_confirmation_seconds",
                "From a push to a receipt that confirms it.",
                &["confirm"],
            ),
            kicked: self.counter("sessions_kicked_total", "Sessions that backends have kicked."),
            watches: self.gauge("watches", "Backends that watch sessions."),
        }
    }

    fn cluster(&self) -> Cluster {
        let asked = self.counters(
            "cluster_questions_total",
            "Pushes, kicks and lists that went to other gateways: to those that hold a user, or to all.",
            &["to"],
        );
        let heard = self.counters(
            "cluster_questions_heard_total",
            "Pushes, kicks and lists of other gateways, as a holder of a user or as one of all.",
            &["to"],
        );
        let of = |counters: &IntCounterVec, to: &str| counters.with_label_values(&[to]);
        Cluster {
            asked_holders: of(&asked, "holders"),
            asked_all: of(&asked, "all"),
            heard_as_holder: of(&heard, "holders"),
            heard_as_all: of(&heard, "all"),
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
        metrics.sessions.close(3004);
        metrics.sessions.close(4711);
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
