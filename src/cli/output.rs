//! Results: what goes to standard output; and notes beside them.

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

/// Prints a line to standard error: what is no result, but good to know.
pub(super) fn note(text: &str) {
    // Nowhere to say so, if even this cannot be printed.
    drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}
