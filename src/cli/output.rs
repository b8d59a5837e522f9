//! Results, on standard output; and notes beside them.

use std::io::{self, Write as _};

use clap::ValueEnum;

use super::failure::Failure;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
}

/// Whether standard error takes colours: on a terminal that has them, unless
/// `NO_COLOR` or `CLICOLOR=0` is set; and anywhere with `CLICOLOR_FORCE`. Clap
/// decides for its help by the same rules.
pub(super) fn is_colourful() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Prints a text and a line break, at once even where output is buffered: a
/// reader that leaves behind its last line must not break the line behind it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{text}\n").as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::unprintable(&error))
}

/// Prints the result of a command that ends with `verdict`. A reader that closes
/// standard output early does not change the verdict.
pub(super) fn print_with_verdict(text: &str, verdict: Result<(), Failure>) -> Result<(), Failure> {
    match print(text) {
        Err(failure) if !failure.is_end_of_reader() => Err(failure),
        printed => verdict.and(printed),
    }
}

/// Prints a line to standard error: a note that is no result, but good to know.
pub(super) fn note(text: &str) {
    // Nowhere to say so, if even this cannot be printed.
    drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}
