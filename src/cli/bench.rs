//! `bridgehead bench …`: puts a gateway under load, checks its behaviour, and
//! reports its costs.

mod arrivals;
mod call;
mod clients;
mod crowd;
mod figures;
mod idle;
mod interrupt;
mod kernel;
mod process;
mod progress;
mod push;
mod receipts;
mod report;
mod traffic;

use clap::{Args, Subcommand};

use super::failure::Failure;

/// Load tests of a gateway: sessions, throughput, latency, CPU time and memory.
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Call(Box<call::Call>),
    Idle(Box<idle::Idle>),
    Push(Box<push::Push>),
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Call(call) => call.run(),
            What::Idle(idle) => idle.run(),
            What::Push(push) => push.run(),
        }
    }
}
