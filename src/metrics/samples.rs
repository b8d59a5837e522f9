//! Metrics that are sampled on a scrape, instead of being counted.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// A metric with its samples.
pub struct Family {
    /// Without the prefix.
    pub name: &'static str,
    /// The meaning, for people.
    pub help: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// By labels.
    pub samples: Vec<Sample>,
}

/// Gauge or counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It can fall.
    Gauge,
    /// It falls only at a restart.
    Counter,
}

/// One value.
pub struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Sample {
    /// A value with its labels.
    pub fn new(
        labels: impl IntoIterator<Item = (&'static str, String)>,
        value: impl Into<f64>,
    ) -> Self {
        Self { labels: labels.into_iter().collect(), value: value.into() }
    }

    /// A value without labels.
    pub fn of(value: impl Into<f64>) -> Self {
        Self::new([], value)
    }

    fn into_proto(self, kind: Kind) -> Metric {
        let label = |(name, value): (&str, String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        };
        let mut metric = Metric::default();
        metric.set_label(self.labels.into_iter().map(label).collect());
        match kind {
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(self.value);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(self.value);
                metric.set_counter(counter);
            }
        }
        metric
    }
}

impl Family {
    /// A metric that can fall.
    pub fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Gauge, samples }
    }

    /// A metric that falls only at a restart.
    pub fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Counter, samples }
    }

    /// `None` without samples: a metric without any is none.
    pub(super) fn into_proto(self) -> Option<MetricFamily> {
        if self.samples.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(format!("bridgehead_{}", self.name));
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
        });
        let samples = self.samples.into_iter().map(|sample| sample.into_proto(self.kind));
        family.set_metric(samples.collect());
        Some(family)
    }
}
