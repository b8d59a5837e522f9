//! Durations and sizes as people write them.
//!
//! A duration is one or more numbers with units (`5s`, `250ms`, `1h30m`); a
//! number without a unit is refused rather than guessed. A size is a number of
//! bytes, or a number with a unit: `64KiB` is 65536, `64KB` is 64000.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use super::forms::{Complaint, Form, form};

/// No duration in the file may be longer, so that adding one to a point in
/// time cannot overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

form! {
    /// A duration longer than zero.
    Interval = Form {
        name: "interval",
        pattern: DURATION_PATTERN,
        noun: "a duration",
        plural: "durations",
        help: DURATION_HELP,
        check: |text| match parse_duration(text)? {
            Duration::ZERO => Err(Complaint::because("must be longer than zero")),
            _ => Ok(()),
        },
    }
}

form! {
    /// A duration that may be zero.
    Delay = Form {
        name: "delay",
        pattern: DURATION_PATTERN,
        noun: "a duration",
        plural: "durations",
        help: DURATION_HELP,
        check: |text| parse_duration(text).map(drop),
    }
}

const DURATION_PATTERN: &str = r"^[0-9]+(ms|s|m|h|d)( ?[0-9]+(ms|s|m|h|d))*$";
const DURATION_HELP: &str =
    "write a number with a unit (`ms`, `s`, `m`, `h`, `d`), such as `250ms`, `5s` or `1h30m`";

fn parse_duration(text: &str) -> Result<Duration, Complaint> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Complaint::because("has no unit")
            .help(format!("write `{text}s` for seconds or `{text}ms` for milliseconds")));
    }
    if !has_known_units(text) {
        return Err(Complaint::plain());
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => {
            Err(Complaint::because("is longer than 365 days"))
        }
        Err(_) => Err(Complaint::plain()),
    }
}

/// Whether `text` is written in the units of this file. humantime knows more,
/// among them `M` for months beside `m` for minutes.
fn has_known_units(text: &str) -> bool {
    let mut rest = text;
    loop {
        let number = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        if number.len() == rest.len() {
            return false;
        }
        // `ms` before `m`.
        let unit =
            ["ms", "s", "m", "h", "d"].into_iter().find_map(|unit| number.strip_prefix(unit));
        match unit {
            None => return false,
            Some("") => return true,
            Some(more) => rest = more.strip_prefix(' ').unwrap_or(more),
        }
    }
}

macro_rules! duration_on_paper {
    ($name:ident) => {
        impl $name {
            /// Writes the duration as people do.
            pub(super) fn serialize<S: Serializer>(
                value: &Duration,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                humantime::format_duration(*value).to_string().serialize(to)
            }

            /// Reads a text that [`Self::FORM`] has checked.
            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<Duration, D::Error> {
                let text = Cow::<str>::deserialize(from)?;
                parse_duration(&text).map_err(|_| D::Error::custom("not a duration"))
            }
        }
    };
}

duration_on_paper!(Interval);
duration_on_paper!(Delay);

/// An [`Interval`] that may be left out.
#[derive(Debug, Clone, Copy)]
pub(super) enum OptionalInterval {}

impl OptionalInterval {
    /// Reads a text that [`Interval::FORM`] has checked.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Interval::deserialize(from).map(Some)
    }
}

impl JsonSchema for OptionalInterval {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Interval::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Interval::json_schema(generator)
    }
}

/// Reads a size, such as `1MiB`, from elsewhere than the file. The error is a
/// help text with the correct form.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    Size::parse(text).map_err(|_| Size::FORM.help)
}

/// A number of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {}

/// Units of sizes and their bytes.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl Size {
    pub(super) const FORM: Form = Form {
        name: "size",
        pattern: r"^[0-9]+ ?(B|[KMG]i?B)?$",
        noun: "a size",
        plural: "sizes",
        help: "write a number with a unit, such as `1MiB`, `64KiB` or `512B`",
        check: |text| Size::parse(text).map(drop),
    };

    /// Reads a size, such as `1MiB`.
    pub(super) fn parse(text: &str) -> Result<u64, Complaint> {
        let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let number = text.strip_suffix(unit).unwrap_or_default();
        if number.is_empty() {
            return Err(Complaint::plain());
        }
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match meant_unit(unit) {
                Some(meant) => Complaint::plain().help(format!("write `{number}{meant}`")),
                None => Complaint::plain(),
            });
        };
        let number: Option<u64> = number.parse().ok();
        number
            .and_then(|number| number.checked_mul(*bytes))
            .ok_or_else(|| Complaint::because("is too large"))
    }

    /// Writes the largest binary unit that fits without a rest.
    pub(super) fn format(bytes: u64) -> String {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if bytes != 0 && bytes.trailing_zeros() >= shift {
                return format!("{}{unit}", bytes >> shift);
            }
        }
        format!("{bytes}B")
    }

    /// Writes the size as people do.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        Size::format(*value).serialize(to)
    }

    /// Reads a number of bytes, or a text that [`Self::FORM`] has checked.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum OnPaper {
            Bytes(u64),
            Text(String),
        }

        match OnPaper::deserialize(from)? {
            OnPaper::Bytes(bytes) => Ok(bytes),
            OnPaper::Text(text) => Size::parse(&text).map_err(|_| D::Error::custom("not a size")),
        }
    }
}

/// The unit behind `mb`, `Mi`, `m` and the like. `K`, `M` and `G` alone are
/// taken for the binary ones.
fn meant_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some("B"),
        "k" | "ki" | "kib" => Some("KiB"),
        "m" | "mi" | "mib" => Some("MiB"),
        "g" | "gi" | "gib" => Some("GiB"),
        "kb" => Some("KB"),
        "mb" => Some("MB"),
        "gb" => Some("GB"),
        _ => None,
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = Self::FORM.schema();
        schema.insert("type".to_owned(), serde_json::json!(["integer", "string"]));
        schema
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        parse_duration(text).ok()
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("1h 30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("2d"), Some(Duration::from_hours(48)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("365d"), Some(LONGEST));
    }

    #[test]
    fn what_could_be_misread_is_no_duration() {
        let texts = [
            "", "5", "5 s", "s", "-5s", "1.5s", "5S", "5M", "5min", "1y", "5s ", " 5s", "5s  5s",
            "1h30",
        ];
        for text in texts {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_told_so() {
        let complaint = parse_duration("5").unwrap_err();
        assert_eq!(complaint.predicate.unwrap(), "has no unit");
        assert!(complaint.help.unwrap().contains("`5s`"));
    }

    #[test]
    fn no_duration_is_longer_than_a_year() {
        for text in ["366d", "99999999999999d", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_interval_is_longer_than_zero_and_a_delay_need_not_be() {
        assert!((Interval::FORM.check)("0ms").is_err());
        assert!((Delay::FORM.check)("0ms").is_ok());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [
            ("512", 512),
            ("512B", 512),
            ("1KB", 1000),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("1MB", 1_000_000),
            ("2GiB", 2 << 30),
            ("3GB", 3_000_000_000),
        ];
        for (text, bytes) in sizes {
            assert_eq!(Size::parse(text).ok(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn other_sizes_are_refused_with_what_was_meant() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "1  MiB",
            "1 MiB ",
            "x",
            "99999999999GiB",
            "18446744073709551616",
        ] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
        for (text, meant) in
            [("1mb", "`1MB`"), ("64k", "`64KiB`"), ("1Mi", "`1MiB`"), ("5 bytes", "`5B`")]
        {
            let help = Size::parse(text).unwrap_err().help.unwrap();
            assert!(help.contains(meant), "{help}");
        }
    }

    proptest! {
        #[test]
        fn a_size_that_is_written_is_read_again(bytes: u64) {
            prop_assert_eq!(Size::parse(&Size::format(bytes)).ok(), Some(bytes));
        }

        #[test]
        fn a_duration_that_is_written_is_read_again(millis in 0..31_536_000_000_u64) {
            let duration = Duration::from_millis(millis);
            let text = humantime::format_duration(duration).to_string();
            // humantime writes months and years too, where no default goes.
            if duration < Duration::from_hours(24) {
                prop_assert_eq!(parse_duration(&text).ok(), Some(duration));
            }
        }
    }
}
