//! The rows of the table: a figure, its target, and whether it is met. Pure: no clock, no I/O.

use crate::figures::{Spread, Unit};

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// A multiple of which 1 lies in the spread, or next to it: no difference
    /// that could be measured.
    Unchanged,
}

/// How far from 1 the median of a [`Target::Unchanged`] figure may lie where every
/// round lies on the same side.
const NEXT_TO: f64 = 0.02;

/// One line of the table: a figure of several rounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// One of each round.
    pub(crate) samples: Vec<f64>,
    /// Absent, the figure is only for comparison.
    pub(crate) target: Option<Target>,
}

impl Row {
    /// A row without a target.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Self {
        Self { what: what.into(), unit, samples, target: None }
    }

    /// The same with a target.
    pub(crate) fn with(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Whether the median meets the target; `None` where there is none. A figure
    /// that could not be measured meets no target.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        Some(Spread::of(&self.samples).is_some_and(|spread| target.is_met(spread)))
    }

    /// The row in Markdown, as [`HEAD`] has it.
    pub(crate) fn markdown(&self) -> String {
        let figure = match Spread::of(&self.samples) {
            Some(spread) => {
                let (least, most) = (self.unit.bare(spread.least), self.unit.bare(spread.most));
                format!("{} | {least} – {most}", self.unit.show(spread.median))
            }
            None => "not measured | –".to_owned(),
        };
        let target = self.target.map_or_else(String::new, |target| target.show(self.unit));
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        format!("| {} | {figure} | {target} | {verdict} |\n", self.what)
    }
}

/// The head of a table of rows.
pub(crate) const HEAD: &str =
    "| | median | min – max | target | |\n| --- | ---: | ---: | ---: | --- |\n";

impl Target {
    fn is_met(self, spread: Spread) -> bool {
        match self {
            Self::AtMost(most) => spread.median <= most,
            Self::AtLeast(least) => spread.median >= least,
            Self::Unchanged => {
                let is_within = spread.least <= 1.0 && spread.most >= 1.0;
                is_within || (spread.median - 1.0).abs() <= NEXT_TO
            }
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", unit.show(most)),
            Self::AtLeast(least) => format!("≥ {}", unit.show(least)),
            Self::Unchanged => "1 within the spread".to_owned(),
        }
    }
}
