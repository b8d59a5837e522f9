//! What commands say on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use crate::config::Diagnostics;

/// Prints diagnostics as a person reads them.
pub(super) fn diagnostics(diagnostics: &Diagnostics) {
    if diagnostics.is_empty() {
        return;
    }
    let mut err = std::io::stderr().lock();
    let colour = err.is_terminal();
    // Where standard error is closed there is nobody to tell.
    let _told = writeln!(err, "{}", diagnostics.render(colour));
}

/// Prints what went wrong.
pub(super) fn error(error: &impl Display) {
    let _told = writeln!(std::io::stderr().lock(), "error: {error}");
}
