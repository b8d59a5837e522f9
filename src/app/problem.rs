//! What is wrong with a configuration, by its place in the file.

use crate::config::{Diagnostics, Loaded};

/// Something wrong with a configuration that only shows when it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The keys that lead to the place in the file.
    pub path: Vec<String>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// What to do about it, where the message does not say.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn at<const N: usize>(path: [&str; N], message: impl Into<String>) -> Self {
        Self { path: path.map(str::to_owned).into(), message: message.into(), help: None }
    }

    /// Where it stands in the file.
    pub fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Adds this to the diagnostics of the file that was loaded.
    pub fn report(&self, loaded: &Loaded, diagnostics: &mut Diagnostics) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let help = self.help.clone().unwrap_or_default();
        diagnostics.error(loaded.at(&path), self.message.clone(), help);
    }

    /// The same for something that does not keep the file from being used.
    pub fn warn(&self, loaded: &Loaded, diagnostics: &mut Diagnostics) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let help = self.help.clone().unwrap_or_default();
        diagnostics.warning(loaded.at(&path), self.message.clone(), help);
    }
}
