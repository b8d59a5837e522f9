//! Warnings about valid settings that are probably not intended, in the log.

use super::problem::Problem;
use super::resolve::Resolved;
use crate::config::Loaded;

/// Logs valid settings that are probably not intended, or have consequences.
pub(super) fn log(loaded: &Loaded, found: &Resolved) {
    if let Some(Problem { path, message, .. }) = &found.unfetched {
        let key = path.join(".");
        tracing::warn!(
            key,
            reason = message,
            "logins are answered RetryError until there are keys"
        );
    }
    let mut warnings = loaded.diagnostics();
    for problem in &found.warnings {
        problem.warn(loaded, &mut warnings);
    }
    warnings.tidy();
    for line in warnings.lines() {
        tracing::warn!(warning = %line, "configuration");
    }
}
