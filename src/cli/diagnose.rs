//! What is wrong with a configuration, for people at a terminal.

use std::io::{self, Write as _};

use super::failure::Failure;
use super::output::is_colourful;
use crate::config::Diagnostics;

/// Prints diagnostics to standard error, with the lines they are about.
pub(super) fn print(diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        let mut err = io::stderr().lock();
        // Nowhere to say so, if even this cannot be printed.
        drop(writeln!(err, "{}", diagnostics.render(is_colourful()).trim_end()));
    }
}

/// Prints diagnostics; the failure has nothing to add to them.
pub(super) fn unusable(diagnostics: &Diagnostics) -> Failure {
    print(diagnostics);
    Failure::usage("")
}
