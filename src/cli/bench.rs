//! `bridgehead bench …`: puts a gateway under load, checks what it does, and
//! says what it costs.

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

/// Load for a gateway: what it holds, how fast it is, what it costs.
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
