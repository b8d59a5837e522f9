//! How a command fails.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit code where the reader of standard output has closed it.
const READ_ENOUGH: u8 = 0;
/// The exit code of a command that ran and failed.
const FAILED: u8 = 1;
/// The exit code of a command that could not run: `EX_USAGE` of `sysexits.h`.
pub(super) const USAGE: u8 = 64;

/// The exit code of a command that Ctrl-C has ended early: 128 and the number of
/// SIGINT, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command failed, and possible remedies.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// It ran and failed.
    #[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    pub(super) fn failed(message: impl ToString) -> Self {
        Self { code: FAILED, message: message.to_string(), help: None }
    }

    /// The command line, or a file that it names, cannot be used.
    #[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    pub(super) fn usage(message: impl ToString) -> Self {
        Self { code: USAGE, message: message.to_string(), help: None }
    }

    /// Ctrl-C has ended it before its time.
    pub(super) fn interrupted(message: &str) -> Self {
        Self { code: INTERRUPTED, message: message.to_owned(), help: None }
    }

    /// Adds a remedy.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, said of something.
    pub(super) fn of(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Standard output cannot be written. A reader that closed it, such as `head`,
    /// has read enough: the command ends early, which is a success.
    pub(super) fn unprintable(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: READ_ENOUGH, message: String::new(), help: None };
        }
        Self::failed(format!("cannot write to standard output: {error}"))
    }

    /// Whether the reader of standard output has closed it.
    pub(super) fn is_end_of_reader(&self) -> bool {
        self.code == READ_ENOUGH
    }

    /// Prints it to standard error.
    pub(super) fn report(&self) -> ExitCode {
        let mut text = String::new();
        if !self.message.is_empty() {
            text = format!("error: {}\n", self.message);
        }
        if let Some(help) = &self.help {
            text = format!("{text}help: {help}\n");
        }
        // Nowhere to say so, if even this cannot be printed.
        drop(io::stderr().lock().write_all(text.as_bytes()));
        ExitCode::from(self.code)
    }
}

#[cfg(test)]
impl Failure {
    /// The whole text, and whether it is one of usage.
    pub(super) fn text(&self) -> (String, bool) {
        let help = self.help.as_deref().unwrap_or_default();
        (format!("{}\n{help}", self.message), self.code == USAGE)
    }
}
