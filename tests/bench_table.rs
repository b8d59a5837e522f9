//! Calculations and output of `make bench`: the pure parts of
//! `benches/side_by_side`.

#![allow(dead_code, reason = "the rest is used where these modules belong")]

#[path = "../benches/side_by_side/document.rs"]
mod document;
#[path = "../benches/side_by_side/figures.rs"]
mod figures;
#[path = "../benches/side_by_side/table.rs"]
mod table;

mod figures_tests {
    use super::figures::{Spread, Unit, median};

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(
            Spread::of(&[3.0, 1.0, 10.0]),
            Some(Spread { median: 3.0, least: 1.0, most: 10.0 })
        );
        assert_eq!(Unit::Times.show(median(&[4.0, 1.0, 2.0, 3.0])), "2.50 ×");
        assert_eq!(Unit::Times.show(median(&[7.0])), "7.00 ×");
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn figures_are_written_in_their_unit() {
        assert_eq!(Unit::Times.show(0.876), "0.88 ×");
        assert_eq!(Unit::Kibibytes.show(3584.0), "3.50 KiB");
        assert_eq!(Unit::Micros.show(7.04), "7.0 µs");
        assert_eq!(Unit::Micros.show(1234.0), "1,234 µs");
        assert_eq!(Unit::PerSecond.show(1_234_567.0), "1,234,567/s");
        assert_eq!(Unit::Bytes.show(-12.0), "-12 B");
        assert_eq!(Unit::Bytes.show(-0.2), "0 B");
        assert_eq!(Unit::Count.show(f64::NAN), "–");
        assert_eq!(Unit::PerSecond.bare(1200.0), "1,200");
        assert_eq!(Unit::Times.bare(1.0), "1.00");
    }
}

mod table_tests {
    use super::figures::Unit;
    use super::table::{Row, Target};

    fn row(samples: &[f64], target: Target) -> Row {
        Row::new("CPU", Unit::Times, samples.to_vec()).with(target)
    }

    #[test]
    fn the_median_is_what_counts() {
        assert_eq!(row(&[0.8, 0.9, 1.5], Target::AtMost(0.9)).is_met(), Some(true));
        assert_eq!(row(&[0.8, 0.91, 1.5], Target::AtMost(0.9)).is_met(), Some(false));
        assert_eq!(row(&[0.8, 0.91, 1.5], Target::AtLeast(0.9)).is_met(), Some(true));
        assert_eq!(Row::new("CPU", Unit::Times, vec![1.0]).is_met(), None);
    }

    #[test]
    fn what_was_not_measured_meets_nothing() {
        assert_eq!(row(&[], Target::AtMost(0.9)).is_met(), Some(false));
        assert_eq!(row(&[f64::NAN], Target::AtLeast(0.0)).is_met(), Some(false));
        let shown = row(&[], Target::AtMost(0.9)).markdown();
        assert_eq!(shown, "| CPU | not measured | – | ≤ 0.90 × | **missed** |\n");
    }

    #[test]
    fn unchanged_is_what_no_one_could_tell_from_one() {
        assert_eq!(row(&[0.9, 1.05, 1.1], Target::Unchanged).is_met(), Some(true));
        assert_eq!(row(&[1.01, 1.015, 1.2], Target::Unchanged).is_met(), Some(true));
        assert_eq!(row(&[1.03, 1.04, 1.05], Target::Unchanged).is_met(), Some(false));
        assert_eq!(row(&[0.9, 0.92, 0.95], Target::Unchanged).is_met(), Some(false));
    }

    #[test]
    fn a_row_shows_median_spread_target_and_verdict() {
        let shown = row(&[0.8, 0.85, 1.5], Target::AtMost(0.9)).markdown();
        assert_eq!(shown, "| CPU | 0.85 × | 0.80 – 1.50 | ≤ 0.90 × | met |\n");
        let shown = Row::new("memory", Unit::Kibibytes, vec![3072.0]).markdown();
        assert_eq!(shown, "| memory | 3.00 KiB | 3.00 – 3.00 |  |  |\n");
    }
}

mod document_tests {
    use super::document::{Document, Group, Part};
    use super::figures::Unit;
    use super::table::{Row, Target};

    fn document() -> Document {
        let row = |figure| Row::new("CPU", Unit::Times, vec![figure]).with(Target::AtMost(1.0));
        let group = Group {
            intro: "How.".into(),
            rows: vec![row(0.5), row(2.0), Row::new("floor", Unit::Times, vec![0.3])],
            loads: vec![("direct".into(), std::array::from_fn(|nth| nth.to_string()))],
            warnings: vec!["9 slow".into(), "slow".into(), "10 slow".into()],
        };
        Document {
            facts: vec![("cores", "2".into())],
            parts: vec![
                Part { name: "calls", title: "Calls", outcome: Ok(group) },
                Part { name: "storm", title: "Storm", outcome: Err("it rained".into()) },
            ],
            commands: vec!["bridgehead bench call".into()],
            notes: vec!["A quick run.".into()],
        }
    }

    #[test]
    fn the_document_counts_what_is_met() {
        assert_eq!(document().score(), (1, 2));
        assert!(document().markdown().contains("\n1 of 2 targets are met.\n"));
    }

    #[test]
    fn everything_is_told() {
        let text = document().markdown();
        for told in [
            "**A quick run.**",
            "| cores | 2 |",
            "## Calls\n\nHow.\n\n",
            "| CPU | 2.00 × | 2.00 – 2.00 | ≤ 1.00 × | **missed** |",
            "| direct | 0 | 1 | 2 | 3 | 4 |",
            "\nbridgehead bench call\n```\n",
            "one of calls, storm",
        ] {
            assert!(text.contains(told), "no {told} in\n{text}");
        }
        assert_eq!(text.matches("The generator warned").count(), 2);
        assert!(
            text.contains(
                "The generator warned, 2 times: 9 slow
"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_group_that_failed_says_why() {
        assert!(!document().is_complete());
        assert!(
            document().markdown().contains("## Storm\n\nNot measured:\n\n```text\nit rained\n")
        );
    }
}
