//! Durations and sizes, as arguments: values out of bounds are refused before
//! anything is sent, with the bounds in the message.

use std::time::Duration;

use crate::close::MAX_REASON;
use crate::config::parse_size;
use crate::push::MAX_PUSH_ID;

/// The longest time that a command waits or runs: beyond it, a clock may overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// The longest life of a token: beyond it, its expiry is a typing mistake.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The longest that the Push API waits for receipts.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// The largest size of a benchmark.
const LARGEST: u64 = 1 << 30;

/// How long something takes that cannot be done in no time, such as a timeout.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    match pause(text)? {
        Duration::ZERO => Err("it must be longer than 0s, such as 500ms or 10s".to_owned()),
        time => Ok(time),
    }
}

/// How long something made here lasts, such as a token.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match up_to(LONGEST_LIFE, text)? {
        Duration::ZERO => Err("it must be longer than 0s, such as 90s or 1h".to_owned()),
        time => Ok(time),
    }
}

/// A pause; it may be none.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    up_to(LONGEST, text)
}

/// How long receipts are waited for.
pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    up_to(LONGEST_DEADLINE, text)
}

fn up_to(longest: Duration, text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}: expected a duration, such as 500ms or 10s"))?;
    if time > longest {
        return Err(format!("it must be {} at most", humantime::format_duration(longest)));
    }
    Ok(time)
}

/// The close reason for kicked clients.
pub(super) fn reason(text: &str) -> Result<String, String> {
    at_most(MAX_REASON, text)
}

/// The id that receipts carry.
pub(super) fn push_id(text: &str) -> Result<String, String> {
    at_most(MAX_PUSH_ID, text)
}

fn at_most(most: usize, text: &str) -> Result<String, String> {
    match text.len() {
        len if len > most => Err(format!("it has {len} bytes; it must have {most} at most")),
        _ => Ok(text.to_owned()),
    }
}

/// A number of bytes, which is not 0.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("it must be 1 byte at least".to_owned()),
        size if size > LARGEST => Err("it must be 1GiB at most".to_owned()),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_longer_than_nothing_and_ends() {
        assert_eq!(time_limit("500ms"), Ok(Duration::from_millis(500)));
        for text in ["0", "0s", "0ms", "-1s", "5", "", "forever", "2y", "99999999999y"] {
            assert!(time_limit(text).is_err(), "{text}");
        }
        assert!(lifetime("0s").is_err() && lifetime("10y").is_ok() && lifetime("101y").is_err());
        assert_eq!(pause("0s"), Ok(Duration::ZERO));
        assert!(pause("2y").unwrap_err().contains("at most"));
    }

    #[test]
    fn a_deadline_is_one_that_the_push_api_takes() {
        assert_eq!(deadline("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(deadline("0s"), Ok(Duration::ZERO));
        assert_eq!(deadline("11m"), Err("it must be 10m at most".to_owned()));
    }

    #[test]
    fn a_size_is_more_than_nothing_and_fits_into_memory() {
        assert_eq!(size("1KiB"), Ok(1024));
        for text in ["0", "0MiB", "1.5MiB", "2GiB", "18446744073709551615"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
