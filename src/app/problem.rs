//! Problems of a configuration, by their place in the file.

use crate::config::{Diagnostics, Loaded};

/// An error in a configuration that only shows when it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The keys that lead to the place in the file.
    pub path: Vec<String>,
    /// The description of the mistake, and the correction.
    pub message: String,
    /// The correction, if the message does not include it.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn at<const N: usize>(path: [&str; N], message: impl Into<String>) -> Self {
        Self { path: path.map(str::to_owned).into(), message: message.into(), help: None }
    }

    /// Its place in the file.
    pub fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Adds this to the diagnostics of the file that was loaded.
    pub fn report(&self, loaded: &Loaded, diagnostics: &mut Diagnostics) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let help = self.help.clone().unwrap_or_default();
        diagnostics.error(loaded.at(&path), self.message.clone(), help);
    }

    /// The same as a warning: the file can be used in spite of it.
    pub fn warn(&self, loaded: &Loaded, diagnostics: &mut Diagnostics) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let help = self.help.clone().unwrap_or_default();
        diagnostics.warning(loaded.at(&path), self.message.clone(), help);
    }
}
