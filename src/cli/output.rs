//! Results: what goes to standard output.

use std::io::{self, Write as _};

use super::failure::Failure;

/// Prints a text and a line break, at once even where output is buffered: a
/// reader that leaves behind its last line must not break the line behind it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{text}\n").as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::unprintable(&error))
}
