//! `bridgehead kick`: closes sessions.

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::push_api::{Connection, Format, JsonLines, Targets};
use super::{limits, runtime};
use crate::proto::push::KickRequest;

/// Close sessions, and print how many.
///
/// Their clients see the close code 3005. A client may connect again at once.
#[derive(Debug, Args)]
pub(super) struct Kick {
    #[command(flatten)]
    targets: Targets,
    /// The reason that is sent to the clients; at most 123 bytes.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = limits::reason)]
    reason: String,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Kick {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = KickRequest { target: Some(self.targets.target()?), reason: self.reason };
        runtime::block_on(async {
            let gateway = self.connection.open().await?;
            let answer = gateway.answer(gateway.client.clone().kick(request)).await?;
            print(&match (self.output, answer.kicked) {
                (Format::Json, _) => JsonLines::of("KickResponse")?.line(&answer)?,
                (Format::Text, 1) => "kicked 1 session".to_owned(),
                (Format::Text, kicked) => format!("kicked {kicked} sessions"),
            })
        })
    }
}
