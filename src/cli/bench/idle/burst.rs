//! A burst: much data over every session, once.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::time::sleep;

use crate::cli::bench::call::request::message;
use crate::cli::bench::interrupt::Interrupt;
use crate::cli::bench::progress;
use crate::cli::bench::traffic::generator::{Course, Fleet, Outcome};
use crate::cli::catalogue;
use crate::cli::failure::Failure;
use crate::cli::limits;
use crate::client::raw::message::Template;
use crate::protocol::seed::methods::KEEP_ALIVE;

/// Bytes of a request besides its data: method, `reqId`, padding.
const ENVELOPE: u64 = 128;

/// What happens after the hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Burst")]
pub(super) struct BurstArgs {
    /// After the hold, have every session send requests of this many bytes.
    ///
    /// The memory is reported again after their answers. Without --burst-method the
    /// requests are keepAlive with that much data.
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = "1MiB",
          value_parser = limits::size)]
    burst: Option<u64>,
    /// Call this method, as often as it takes to make up the size.
    #[arg(long, value_name = "METHOD", requires = "burst")]
    burst_method: Option<String>,
    /// Its request in JSON; `-`: standard input, `@FILE`: a file.
    #[arg(long, value_name = "JSON", default_value = "{}", requires = "burst_method")]
    burst_json: String,
    /// Sessions that have their burst at the same time.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "burst",
          value_parser = clap::value_parser!(u16).range(1..))]
    burst_at_once: u16,
    /// The time between the burst and the measurement of memory.
    ///
    /// Allocators give it back after some seconds.
    #[arg(long, value_name = "DURATION", default_value = "12s", requires = "burst",
          value_parser = limits::pause)]
    settle: Duration,
    /// The gateway's `edge.max_message`.
    ///
    /// The requests of a burst are not larger.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", requires = "burst",
          value_parser = limits::size)]
    max_message: u64,
    #[command(flatten)]
    source: catalogue::Source,
}

/// A burst that is to come.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) template: Template,
    /// Requests on each session.
    pub(super) each: u64,
    at_once: usize,
    settle: Duration,
}

impl BurstArgs {
    pub(super) async fn plan(self) -> Result<Option<Plan>, Failure> {
        let Some(size) = self.burst else { return Ok(None) };
        if self.max_message <= ENVELOPE {
            let least = format!("--max-message must be more than {ENVELOPE} bytes");
            return Err(Failure::usage(least));
        }
        let (template, each) = match &self.burst_method {
            None => keep_alive(size, self.max_message),
            Some(method) => {
                let data = message(&self.source, method, None, &self.burst_json).await?;
                let template = Template::new(method, &data);
                let each = size.div_ceil(template.len() as u64);
                (template, each)
            }
        };
        let at_once = self.burst_at_once.into();
        Ok(Some(Plan { template, each, at_once, settle: self.settle }))
    }
}

/// As few requests as fit, all alike.
fn keep_alive(size: u64, max_message: u64) -> (Template, u64) {
    let each = size.div_ceil(max_message);
    let len = (size / each).min(max_message - ENVELOPE);
    let data = Bytes::from(vec![b'.'; usize::try_from(len).unwrap_or(usize::MAX)]);
    (Template::new(KEEP_ALIVE, &data), each)
}

/// The request of a run without a burst, which is never sent.
pub(super) fn nothing() -> Template {
    Template::new(KEEP_ALIVE, b"")
}

impl Plan {
    /// Bytes of requests on each session.
    pub(super) fn bytes(&self) -> u64 {
        self.each * self.template.len() as u64
    }

    /// Has all sessions have their burst, and waits until memory has settled.
    pub(super) async fn run(
        &self,
        fleet: &mut Fleet,
        sessions: usize,
        interrupt: &Interrupt,
    ) -> Result<Outcome, Failure> {
        let Self { each, at_once, settle, .. } = *self;
        let bar = progress::bursting(each * sessions as u64, &fleet.progress);
        fleet.run(Course::Burst { each, at_once });
        fleet.measured_until(interrupt.come()).await?;
        let outcome = fleet.ended().await?;
        drop(bar);
        let bar = progress::waiting("letting memory settle, s", settle);
        tokio::select! {
            () = sleep(settle) => {}
            () = interrupt.come() => {}
        }
        drop(bar);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        burst: BurstArgs,
    }

    async fn plan(arguments: &[&str]) -> Result<Option<Plan>, Failure> {
        Command::parse_from([&["x"], arguments].concat()).burst.plan().await
    }

    #[tokio::test]
    async fn a_burst_fits_the_gateways_limit() {
        assert!(plan(&[]).await.unwrap().is_none());
        let (one, limit) = (plan(&["--burst"]).await.unwrap().unwrap(), 1 << 20);
        assert!((limit - 256..limit - 16).contains(&one.bytes()), "{}", one.bytes());
        assert_eq!(one.each, 1);
        let small = plan(&["--burst", "3KiB", "--max-message", "1KiB"]).await.unwrap().unwrap();
        assert_eq!(small.each, 3);
        assert!(small.template.len() < 1024 - 16);
    }

    #[tokio::test]
    async fn a_method_is_called_as_often_as_makes_up_the_size() {
        let arguments = ["--burst", "1MiB", "--burst-method", "/v1/user/white/login"];
        let plan = plan(&arguments).await.unwrap().unwrap();
        assert!(plan.bytes() >= 1 << 20 && plan.bytes() < (1 << 20) + 100);
    }

    #[tokio::test]
    async fn what_makes_no_burst_is_told() {
        let arguments = ["--burst", "1KiB", "--max-message", "5B"];
        let (text, is_usage) = plan(&arguments).await.unwrap_err().text();
        assert!(is_usage && text.contains("--max-message"), "{text}");
        let arguments = ["--burst", "1KiB", "--burst-method", "/v1/user/login"];
        assert!(plan(&arguments).await.unwrap_err().text().0.contains("did you mean"));
        for arguments in [
            &["x", "--burst", "1M"][..],
            &["x", "--burst", "0B"],
            &["x", "--burst-method", "/v1/x"],
        ] {
            assert!(Command::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
