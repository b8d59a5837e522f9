//! Counts of answers and failures.

use hdrhistogram::Histogram;

use crate::cli::bench::figures::histogram;

/// Which requests are measured. Times are in nanoseconds since a beginning that
/// the user of this knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Measured from here: the time before is the warm-up.
    pub(super) from: u64,
    /// Measured until here: answers that come later are waited for, no more.
    pub(super) until: u64,
    /// Which moment decides whether an answer counts.
    pub(super) counts: By,
    /// Which moment decides whether its latency does.
    pub(super) latencies: By,
}

/// The moment that must be in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The answer's coming.
    Arrival,
    /// The beginning of the latency: the request's sending, or its turn. Nothing is
    /// sent when the window has closed, so such an answer may come later.
    Beginning,
}

impl Window {
    /// Nothing is measured yet.
    pub(super) const CLOSED: Self =
        Self { from: u64::MAX, until: u64::MAX, counts: By::Arrival, latencies: By::Arrival };

    /// Open from now on.
    pub(super) const fn open(from: u64, counts: By, latencies: By) -> Self {
        Self { from, until: u64::MAX, counts, latencies }
    }

    fn has(self, by: By, since: u64, now: u64) -> bool {
        match by {
            By::Arrival => (self.from..self.until).contains(&now),
            By::Beginning => since >= self.from,
        }
    }
}

/// The counts.
#[derive(Debug)]
pub(in crate::cli::bench) struct Tally {
    /// Of measured requests, in nanoseconds.
    pub(in crate::cli::bench) latencies: Histogram<u64>,
    /// Measured answers.
    pub(in crate::cli::bench) answers: u64,
    /// The same by code.
    pub(in crate::cli::bench) codes: Vec<(i32, u64)>,
    /// Code and text of the first answer that was no success.
    pub(in crate::cli::bench) first_failure: Option<(i32, String)>,
    /// When the last measured answer came, in nanoseconds.
    pub(in crate::cli::bench) last: u64,
    /// Answers without a request, or that came twice; at any time.
    pub(in crate::cli::bench) unexpected: u64,
    /// Requests that were still not answered when there was no more waiting.
    pub(in crate::cli::bench) unanswered: u64,
    /// Requests that were due and could not be sent before the end.
    pub(in crate::cli::bench) unsent: u64,
    /// Connections that ended before they were closed.
    pub(in crate::cli::bench) lost: u64,
    /// How the first of them ended.
    pub(in crate::cli::bench) first_lost: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latencies: histogram(),
            answers: 0,
            codes: Vec::new(),
            first_failure: None,
            last: 0,
            unexpected: 0,
            unanswered: 0,
            unsent: 0,
            lost: 0,
            first_lost: None,
        }
    }
}

impl Tally {
    /// Counts an answer that has come now. Its request's latency counts from `since`.
    pub(super) fn answer(&mut self, window: Window, since: u64, now: u64, code: i32) {
        if window.has(window.latencies, since, now) {
            self.latencies.saturating_record(now.saturating_sub(since));
        }
        if window.has(window.counts, since, now) {
            self.answers += 1;
            self.last = now;
            self.count(code, 1);
        }
    }

    /// A request was due then, and is not sent any more: it would have taken so
    /// long at least.
    pub(super) fn unsent(&mut self, window: Window, since: u64, now: u64) {
        if since >= window.from {
            self.unsent += 1;
            self.latencies.saturating_record(now.saturating_sub(since));
        }
    }

    fn count(&mut self, code: i32, times: u64) {
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += times,
            None => self.codes.push((code, times)),
        }
    }

    /// Measured answers that were no success.
    pub(in crate::cli::bench) fn failures(&self) -> u64 {
        self.codes.iter().filter(|(code, _)| *code != 0).map(|(_, count)| count).sum()
    }

    /// Adds another thread's counts.
    pub(in crate::cli::bench) fn add(&mut self, other: Self) {
        // Of the same bounds, so that it cannot fail.
        let _same = self.latencies.add(&other.latencies);
        self.answers += other.answers;
        other.codes.into_iter().for_each(|(code, times)| self.count(code, times));
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.last = self.last.max(other.last);
        self.unexpected += other.unexpected;
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.lost += other.lost;
        self.first_lost = self.first_lost.take().or(other.first_lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_does_not_count() {
        let mut tally = Tally::default();
        tally.answer(Window::CLOSED, 0, 50, 0);
        let by_arrival = Window { from: 100, ..Window::CLOSED };
        tally.answer(by_arrival, 90, 99, 0);
        tally.answer(by_arrival, 90, 100, 0);
        tally.answer(Window { until: 110, ..by_arrival }, 90, 110, 0);
        assert_eq!((tally.answers, tally.latencies.len(), tally.latencies.max()), (1, 1, 10));
        let by_beginning = Window::open(100, By::Beginning, By::Beginning);
        tally.answer(by_beginning, 99, 120, 0);
        tally.answer(by_beginning, 100, 120, 7);
        assert_eq!((tally.answers, tally.latencies.len(), tally.last), (2, 2, 120));
        assert_eq!(tally.codes, [(0, 1), (7, 1)]);
    }

    #[test]
    fn what_was_due_and_never_sent_shows_in_the_latencies() {
        let mut tally = Tally::default();
        let window = Window::open(100, By::Arrival, By::Beginning);
        tally.unsent(window, 99, 1_000);
        tally.unsent(window, 200, 1_000);
        assert_eq!((tally.unsent, tally.answers), (1, 0));
        assert_eq!((tally.latencies.len(), tally.latencies.max()), (1, 800));
    }

    #[test]
    fn threads_add_up() {
        let window = Window { from: 0, ..Window::CLOSED };
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.answer(window, 0, 10, 0);
        other.answer(window, 0, 30, 0);
        other.answer(window, 0, 20, 3);
        other.lost = 1;
        other.first_lost = Some("gone".to_owned());
        one.add(other);
        assert_eq!((one.answers, one.last, one.lost), (3, 20, 1));
        assert_eq!(one.codes, [(0, 2), (3, 1)]);
        assert_eq!((one.latencies.len(), one.latencies.max()), (3, 30));
        assert_eq!(one.first_lost.as_deref(), Some("gone"));
    }
}
