//! Lines and columns for people at a terminal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use crate::proto::push::Session;

/// The names of the `session_cells`.
pub(in crate::cli) const SESSION_HEADER: [&str; 10] = [
    "SESSION",
    "USER",
    "PLATFORM",
    "DEVICE",
    "IP",
    "VERSION",
    "LANGUAGE",
    "ENCRYPTED",
    "NODE",
    "CONNECTED",
];

/// All there is to know of a session.
pub(in crate::cli) fn session_cells(session: &Session) -> [String; 10] {
    let connected = session.connected_at.as_ref().map(time).unwrap_or_default();
    let encrypted = if session.encrypted { "yes" } else { "no" };
    [
        &session.session_id,
        &session.user_id,
        &session.platform,
        &session.device_id,
        &session.remote_ip,
        &session.app_version,
        &session.language,
        encrypted,
        &session.node,
        &connected,
    ]
    .map(cell)
}

/// A text as a cell. A client's description of itself must not steer the terminal
/// or break the line: control characters, and those for the direction of writing,
/// become their escapes. An empty text is a dash.
pub(in crate::cli) fn cell(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A moment in UTC, to the second.
pub(in crate::cli) fn time(at: &Timestamp) -> String {
    let seconds = u64::try_from(at.seconds).unwrap_or_default();
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // The last second that the text form has.
        Some(time) if seconds <= 253_402_300_799 => rfc3339(time),
        _ => "-".to_owned(),
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Rows whose columns stand below each other.
///
/// Rows that are printed as they come cannot know the following ones: columns begin
/// with a width that mostly does, and grow where it does not.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Columns of these widths at least.
    pub(in crate::cli) fn new(widths: impl Into<Vec<usize>>) -> Self {
        Self { widths: widths.into() }
    }

    /// Makes room for a row that comes later.
    pub(in crate::cli) fn fit<T: AsRef<str>>(&mut self, row: &[T]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.as_ref().width());
        }
    }

    /// A row as a line, without its line break.
    pub(in crate::cli) fn row<T: AsRef<str>>(&mut self, row: &[T]) -> String {
        self.fit(row);
        let mut line = String::new();
        for (width, cell) in self.widths.iter().zip(row) {
            let cell = cell.as_ref();
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_by_what_a_terminal_shows() {
        let mut table = Table::new([0, 0]);
        let rows = [["USER", "DEVICE"], ["李雷", "d"], ["someone-else", "e"]];
        for row in &rows {
            table.fit(row);
        }
        let lines = rows.map(|row| table.row(&row));
        assert_eq!(lines, ["USER          DEVICE", "李雷          d", "someone-else  e"]);
    }

    #[test]
    fn columns_grow_with_what_comes() {
        let mut table = Table::new([2, 2]);
        assert_eq!(table.row(&["a", "b"]), "a   b");
        assert_eq!(table.row(&["long", "b"]), "long  b");
        assert_eq!(table.row(&["a", "b"]), "a     b");
    }

    #[test]
    fn a_client_cannot_steer_the_terminal() {
        assert_eq!(cell("a\u{1b}[2J\nb"), r"a\u{1b}[2J\nb");
        assert_eq!(cell("a\u{202e}b\u{9b}"), r"a\u{202e}b\u{9b}");
        assert_eq!(cell("李雷"), "李雷");
        assert_eq!(cell(""), "-");
    }

    #[test]
    fn a_moment_is_told_in_utc() {
        let at = |seconds| time(&Timestamp { seconds, nanos: 0 });
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(at(i64::MAX), "-");
        assert_eq!(at(-1), "1970-01-01T00:00:00Z");
    }
}
