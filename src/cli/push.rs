//! `bridgehead push`: sends an event to sessions, and prints the receipts.

mod data;
mod receipts;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tokio::time::timeout;

use super::failure::Failure;
use super::output::{note, print};
use super::push_api::{Connection, Format, Gateway, JsonLines, Targets};
use super::{limits, runtime};
use crate::proto::push::{self, PushRequest};
use crate::proto::session::PushEvent;
use data::Data;
use receipts::{Summary, line};

/// Push an event to sessions, and print the receipts.
///
/// Prints a line for each selected session, and for each named user without a
/// session, as soon as its outcome is known. The exit code is 0 if the gateway has
/// handled the push, whatever the outcomes are, unless --require is given.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  bridgehead push --user alice --text 'hello'
  bridgehead push --user alice,bob --type pb.MsgDataList --json @messages.json
  bridgehead push --everyone --platform ios --event notices --file notice.bin --confirm acknowledged")]
pub(super) struct Push {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    data: Data,
    /// The event's number, or messages (0) or notices (1).
    #[arg(long, help_heading = "Data", default_value = "0", value_parser = event, allow_negative_numbers = true)]
    event: i32,
    /// The stage of the delivery that receipts confirm.
    #[arg(long, value_enum, default_value_t = Confirm::Written, help_heading = "Receipts")]
    confirm: Confirm,
    /// How long receipts are waited for, up to 10m.
    #[arg(long, help_heading = "Receipts", value_name = "DURATION", default_value = "5s",
          value_parser = limits::deadline)]
    deadline: Duration,
    /// The id that the receipts carry [default: a new one].
    #[arg(long, value_name = "ID", help_heading = "Receipts", hide_short_help = true,
          value_parser = limits::push_id)]
    push_id: Option<String>,
    /// Fail unless every receipt confirms the stage of --confirm.
    ///
    /// The exit code is 1 then, and also if there is no receipt at all.
    #[arg(long, help_heading = "Receipts")]
    require: bool,
    /// How receipts are printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text, help_heading = "Receipts")]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// How sure the pusher wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Confirm {
    /// The frame is in the session's outbox.
    Queued,
    /// It is on the session's socket.
    Written,
    /// The client's own WebSocket has read it.
    Acknowledged,
}

impl From<Confirm> for push::Confirm {
    fn from(confirm: Confirm) -> Self {
        match confirm {
            Confirm::Queued => Self::Queued,
            Confirm::Written => Self::Written,
            Confirm::Acknowledged => Self::Acknowledged,
        }
    }
}

impl Push {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = self.targets.target()?;
        let deadline = self.deadline.try_into().map_err(Failure::usage)?;
        runtime::block_on(async {
            let request = PushRequest {
                push_id: self.push_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
                target: Some(target),
                event: self.event,
                data: self.data.bytes().await?,
                confirm: push::Confirm::from(self.confirm).into(),
                deadline: Some(deadline),
            };
            let gateway = self.connection.open().await?;
            let (started, mut summary) = (Instant::now(), Summary::new(self.confirm.into()));
            // The gateway ends it at the deadline; this is for one that does not.
            let limit = self.deadline.saturating_add(gateway.timeout);
            let ended = timeout(limit, push(&gateway, request, self.output, &mut summary)).await;
            let ended = ended.unwrap_or_else(|_| {
                Err(Failure::failed("the gateway did not end the push in time"))
            });
            if ended.is_ok() || !summary.is_empty() {
                note(&summary.line(started.elapsed()));
            }
            ended?;
            if self.require { summary.require() } else { Ok(()) }
        })
    }
}

/// Prints receipts as they come, until there are no more.
async fn push(
    gateway: &Gateway,
    request: PushRequest,
    output: Format,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let lines = JsonLines::of("PushReceipt")?;
    let mut columns = receipts::columns();
    let mut receipts = gateway.answer(gateway.client.clone().push(request)).await?;
    let mut is_read = true;
    while let Some(receipt) = gateway.next(&mut receipts).await? {
        summary.count(&receipt);
        if !is_read {
            continue;
        }
        let printed = print(&match output {
            Format::Json => lines.line(&receipt)?,
            Format::Text => line(&receipt, &mut columns),
        });
        match printed {
            // The summary, and `--require`, count all receipts.
            Err(failure) if failure.is_end_of_reader() => is_read = false,
            printed => printed?,
        }
    }
    Ok(())
}

// The gateway's own, which it refuses to push as well.
const ANSWERS: i32 = PushEvent::PushResponseBody as i32;
const IV: i32 = PushEvent::AfterConnect as i32;

fn event(text: &str) -> Result<i32, String> {
    match text {
        "messages" => Ok(0),
        "notices" => Ok(1),
        _ => match text.parse() {
            Ok(ANSWERS) => {
                Err("the gateway answers requests with event 2: choose another number".to_owned())
            }
            Ok(IV) => Err("the gateway sends the IV of a session with event 3: choose another \
                           number"
                .to_owned()),
            Ok(event) => Ok(event),
            Err(_) => Err("expected a number, `messages` or `notices`".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_numbers_and_some_have_names() {
        assert_eq!(event("messages"), Ok(0));
        assert_eq!(event("notices"), Ok(1));
        assert_eq!(event("77"), Ok(77));
        assert_eq!(event("-1"), Ok(-1));
        for wrong in ["message", "2", "3", "2147483648", ""] {
            assert!(event(wrong).is_err(), "{wrong}");
        }
    }
}
