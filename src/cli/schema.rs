//! `bridgehead schema`: the schema of routes.yaml, for editors.

use clap::Args;

use super::failure::Failure;
use super::output::print;
use crate::config;

/// Print the JSON Schema of routes.yaml, for editors to complete and check.
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "every command has the same form")]
    pub(super) fn run(self) -> Result<(), Failure> {
        let schema = serde_json::to_string_pretty(&config::schema()).map_err(Failure::failed)?;
        print(&schema)
    }
}
