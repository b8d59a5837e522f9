//! Problems of a configuration, for people at a terminal.

use std::io::{self, Write as _};
use std::path::Path;

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

/// Refuses a configuration file that does not exist. Only commands can name
/// another one: a running gateway that misses its file says less.
pub(super) fn must_exist(path: &Path) -> Result<(), Failure> {
    if !matches!(path.try_exists(), Ok(false)) {
        return Ok(());
    }
    let missing = format!("the configuration file {} does not exist", path.display());
    Err(Failure::usage(missing).help(
        "name the file with -c; `bridgehead schema` describes its contents, and `bridgehead demo` \
         needs none",
    ))
}

/// Prints diagnostics; the failure has nothing to add to them.
pub(super) fn unusable(diagnostics: &Diagnostics) -> Failure {
    print(diagnostics);
    Failure::usage("")
}
