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

            /// Reads what [`Self::FORM`] has checked.
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
    /// Reads what [`Interval::FORM`] has checked.
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
