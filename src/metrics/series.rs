//! How series are made: by name, help and labels, of one registry.

use super::counters::{Counters, Histograms};
use super::labels::Labels;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Seconds. A call within a data centre takes one millisecond, one that is
/// given up usually five seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Makes series of one registry.
pub(crate) struct New<'a>(pub(super) &'a Registry);

impl New<'_> {
    pub(crate) fn counter(&self, name: &str, help: &str) -> IntCounter {
        let made = IntCounter::with_opts(opts(name, help));
        self.add(made.unwrap_or_else(|error| never(name, &error)))
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let made = IntGauge::with_opts(opts(name, help));
        self.add(made.unwrap_or_else(|error| never(name, &error)))
    }

    pub(super) fn counters<L: Labels>(&self, name: &str, help: &str) -> Counters<L> {
        Counters::new(&self.counters_by(name, help, L::NAMES))
    }

    pub(super) fn histograms<L: Labels>(&self, name: &str, help: &str) -> Histograms<L> {
        Histograms::new(&self.histograms_by(name, help, L::NAMES))
    }

    /// Counters whose labels are not known yet, such as routes.
    pub(super) fn counters_by(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = IntCounterVec::new(opts(name, help), labels);
        self.add(made.unwrap_or_else(|error| never(name, &error)))
    }

    pub(super) fn histograms_by(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::from(opts(name, help)).buckets(BUCKETS.into());
        let made = HistogramVec::new(options, labels);
        self.add(made.unwrap_or_else(|error| never(name, &error)))
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> C {
        add(self.0, collector.clone());
        collector
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("bridgehead_{name}"), help)
}

pub(super) fn add(registry: &Registry, collector: impl prometheus::core::Collector + 'static) {
    if let Err(error) = registry.register(Box::new(collector)) {
        never("", &error)
    }
}

/// Names and labels are written down here, and a test makes them all.
#[expect(clippy::panic, reason = "the names above are valid and different, as a test shows")]
fn never(name: &str, error: &prometheus::Error) -> ! {
    panic!("the metric {name} cannot be: {error}")
}
