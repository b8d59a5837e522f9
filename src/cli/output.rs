//! Results: what goes to standard output.

use std::io::{self, Write as _};

use super::failure::Failure;

/// Prints a text and a line break, at once even where output is buffered.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::unprintable(&error))
}
