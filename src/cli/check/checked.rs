//! The result of checking a file.

use crate::app::Resolved;
use crate::cli::failure::Failure;
use crate::config::{Diagnostics, Loaded};

/// The result of checking a file.
pub(super) struct Checked {
    pub(super) loaded: Option<Loaded>,
    pub(super) resolved: Option<Resolved>,
    /// Its errors and warnings.
    pub(super) file: Diagnostics,
    /// Failures of servers and identity providers that were asked.
    pub(super) asked: Option<Diagnostics>,
}

impl Checked {
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.file.has_errors() {
            return Err(Failure::usage(""));
        }
        match &self.asked {
            Some(asked) if asked.has_errors() => Err(Failure::failed("")),
            _ => Ok(()),
        }
    }

    /// Whether the file has no mistake, whatever servers answered.
    pub(super) fn is_file_good(&self) -> bool {
        !self.file.has_errors()
    }

    /// Everything there is to say, in the order of the file.
    pub(super) fn all(&self) -> Diagnostics {
        let mut all = self.file.clone();
        if let Some(asked) = &self.asked {
            all.append(asked);
        }
        all.tidy();
        all
    }
}
