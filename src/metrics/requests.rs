//! Requests, by route, and the calls that they become, by upstream.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::labels::{STATUSES, code_label};
use super::{Counters, Label, New};

/// The requests of all routes.
#[derive(Clone)]
pub struct Requests {
    answered: IntCounterVec,
    seconds: HistogramVec,
    calls: IntCounterVec,
    /// By reason and code.
    refused: IntCounterVec,
}

/// The requests of one route.
#[derive(Debug)]
pub struct Route {
    /// By code; the last is for all that have no name.
    answered: [IntCounter; 9],
    seconds: Histogram,
    /// By gRPC status.
    calls: [IntCounter; 17],
}

impl Requests {
    pub(super) fn new(new: &New<'_>) -> Self {
        Self {
            answered: new.counters_by(
                "requests_total",
                "Requests that led to a call, by route and the code of their answer.",
                &["route", "code"],
            ),
            seconds: new.histograms_by(
                "request_duration_seconds",
                "From a request's frame to its answer, by route.",
                &["route"],
            ),
            calls: new.counters_by(
                "upstream_calls_total",
                "Calls by upstream and gRPC status, retries not counted.",
                &["upstream", "status"],
            ),
            refused: new.counters_by(
                "requests_refused_total",
                "Requests that led to no call, by the reason and the code of their answer.",
                &["reason", "code"],
            ),
        }
    }

    /// The series of a route: looked for once.
    pub fn route(&self, route: &str, upstream: &str) -> Arc<Route> {
        let code = |code: usize| i32::try_from(code).map_or("other", code_label);
        let answered = |number| self.answered.with_label_values(&[route, code(number)]);
        let calls = |status: usize| self.calls.with_label_values(&[upstream, STATUSES[status]]);
        Arc::new(Route {
            answered: std::array::from_fn(answered),
            seconds: self.seconds.with_label_values(&[route]),
            calls: std::array::from_fn(calls),
        })
    }

    /// Counters of requests that are answered without a call, by reason. `code` is
    /// the code of the answer for each reason.
    pub fn refused<L: Label>(&self, code: impl Fn(L) -> i32) -> Counters<L> {
        Counters::with(|reason: L| {
            self.refused.with_label_values(&[reason.label(), code_label(code(reason))])
        })
    }
}

impl Route {
    /// A request was answered with a code, after so long.
    pub fn done(&self, code: i32, took: Duration) {
        let known = usize::try_from(code).ok().and_then(|code| self.answered.get(code));
        // 6 is no code: it stands for all others.
        known.unwrap_or(&self.answered[6]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A call has ended with a gRPC status.
    pub fn called(&self, status: i32) {
        let known = usize::try_from(status).ok().and_then(|status| self.calls.get(status));
        known.unwrap_or(&self.calls[2]).inc();
    }
}
