//! Families of counters and histograms by [`Labels`], with a handle for each series.
//!
//! All series of a family exist from the start, so that the first event of a kind
//! is an increase. To count is to pick one of the handles: there is no lookup.

use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::labels::Labels;

/// Counters by label.
pub struct Counters<L>(Series<L, IntCounter>);

/// Histograms by label.
pub struct Histograms<L>(Series<L, Histogram>);

/// One for each of [`Labels::all`].
struct Series<L, S>(Arc<[S]>, PhantomData<fn(L)>);

impl<L: Labels> Counters<L> {
    pub(super) fn new(family: &IntCounterVec) -> Self {
        Self::with(|labels| family.with_label_values(labels.values().as_ref()))
    }

    /// With the series that `of` makes.
    pub(super) fn with(of: impl Fn(L) -> IntCounter) -> Self {
        Self(Series(L::all().map(of).collect(), PhantomData))
    }

    /// Adds one.
    pub fn inc(&self, labels: L) {
        self.of(labels).inc();
    }

    /// The counter with these labels.
    pub fn of(&self, labels: L) -> &IntCounter {
        &self.0.0[labels.place()]
    }
}

impl<L: Labels> Histograms<L> {
    pub(super) fn new(family: &HistogramVec) -> Self {
        let of = |labels: L| family.with_label_values(labels.values().as_ref());
        Self(Series(L::all().map(of).collect(), PhantomData))
    }

    /// The histogram with these labels.
    pub fn of(&self, labels: L) -> &Histogram {
        &self.0.0[labels.place()]
    }
}

impl<L, S> Clone for Series<L, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L> Clone for Histograms<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
