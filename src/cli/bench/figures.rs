//! Figures of reports: how they are computed, rounded and named.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies in nanoseconds, from one to an hour, three digits exact. None
/// where the library refuses these limits, which it does not.
pub(super) fn histogram() -> Histogram<u64> {
    let Ok(histogram) = Histogram::new_with_bounds(1, 3_600_000_000_000, 3) else { unreachable!() };
    histogram
}

/// Percentiles, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Millis {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Millis {
    pub(super) fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| number(latencies.value_at_quantile(quantile)) / 1e6;
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: number(latencies.max()) / 1e6 }
    }
}

/// Percentiles, in microseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Micros {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

impl Micros {
    pub(super) fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| number(latencies.value_at_quantile(quantile)) / 1e3;
        Self {
            mean: latencies.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: number(latencies.max()) / 1e3,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no measurement is that exact")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// Zero where there is nothing to divide by.
pub(super) fn ratio(of: f64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { of / number(to) }
}

pub(super) fn mib(bytes: u64) -> f64 {
    number(bytes) / f64::from(1 << 20)
}

/// One of it, or so many.
pub(super) fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(count))
}

/// A number with its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same, of numbers that are not whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and never negative"
)]
pub(super) fn rounded(number: f64) -> String {
    grouped(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let told = [0, 7, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(told, ["0", "7", "999", "1,000", "123,456", "1,234,567"]);
        assert_eq!(rounded(1234.5), "1,235");
        assert_eq!(
            (counted(1, "request"), counted(0, "request")),
            ("1 request".into(), "0 requests".into())
        );
    }

    #[test]
    fn percentiles_are_told_in_their_units() {
        let mut latencies = histogram();
        (1..=1000).for_each(|nth| latencies.record(nth * 1_000_000).unwrap());
        let close = |of: f64, to: f64| (of / to - 1.0).abs() < 0.002;
        let Micros { mean, p50, p90, p99, p99_9, max } = Micros::of(&latencies);
        let told =
            [(mean, 500_500.0), (p50, 5e5), (p90, 9e5), (p99, 9.9e5), (p99_9, 9.99e5), (max, 1e6)];
        assert!(told.iter().all(|(of, to)| close(*of, *to)), "{told:?}");
        assert!(close(Millis::of(&latencies).p90, 900.0));
    }
}
