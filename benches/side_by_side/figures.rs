//! Medians, their spread, and how they are written. Pure: no clock, no I/O.

use std::fmt::Write as _;

/// The figures of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` without rounds, or if a sample is no number.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        if sorted.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }
}

/// The median, or "not a number" where there is none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    Spread::of(samples).map_or(f64::NAN, |spread| spread.median)
}

/// The arithmetic mean.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / number(samples.len() as u64)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no measurement is that exact")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A multiple of something else.
    Times,
    /// Bytes, shown as KiB.
    Kibibytes,
    Bytes,
    Micros,
    PerSecond,
    Count,
}

impl Unit {
    /// A figure for people, three digits exact or so.
    pub(crate) fn show(self, figure: f64) -> String {
        if !figure.is_finite() {
            return "–".to_owned();
        }
        match self {
            Self::Times => format!("{figure:.2} ×"),
            Self::Kibibytes => format!("{:.2} KiB", figure / 1024.0),
            Self::Bytes => format!("{} B", grouped(figure)),
            Self::Micros if figure.abs() < 100.0 => format!("{figure:.1} µs"),
            Self::Micros => format!("{} µs", grouped(figure)),
            Self::PerSecond => format!("{}/s", grouped(figure)),
            Self::Count => grouped(figure),
        }
    }

    /// Only the number of it, for a range that already names its unit.
    pub(crate) fn bare(self, figure: f64) -> String {
        let shown = self.show(figure);
        let end = shown.find([' ', '/']).unwrap_or(shown.len());
        shown[..end].to_owned()
    }
}

/// A whole number with its thousands set apart.
fn grouped(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = String::new();
    if figure < 0.0 && digits != "0" {
        text.push('-');
    }
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        // Writing to a string does not fail.
        let _written = write!(text, "{digit}");
    }
    text
}
