//! `make bench`: the gateway beside its yardsticks, in one run, written down as BENCHMARKS.md.
//!
//! This program starts itself again for the parts that are not the gateway's own,
//! so that everything is a process whose CPU time is its own: `parts`. `rows` has
//! the measurements, `table` and `document` their presentation. Loads are made by
//! `bridgehead bench`: nothing here knows the session protocol.
//!
//! `make instructions` counts instructions instead, which no noise changes, and
//! compares them with the recorded ones: `instructions`.
//!
//! In `cargo test` it does nothing.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what this is for")]

mod counters;
mod document;
mod failure;
mod figures;
mod gateway;
mod instructions;
mod load;
mod machine;
mod parts;
mod plan;
mod processes;
mod rows;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use document::Document;
use failure::{Context as _, Failure};
use plan::Plan;

/// As the gateway has it: no part is to win by an allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [part, name, rest @ ..] if part == "part" => parts::run(name, rest),
        [first, ..] if first == "instructions" => instructions::check(),
        arguments if arguments.iter().any(|argument| argument == "--bench") => bench(),
        _ => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The program of `cargo bench`.
fn bench() -> Result<(), Failure> {
    let plan = Plan::from_environment();
    let output = plan.output.clone();
    let document = run(plan)?;
    let text = document.markdown();
    println!("{text}");
    if let Some(path) = output {
        std::fs::write(&path, text).context(format!("cannot write {}", path.display()))?;
        eprintln!("written to {}", path.display());
    }
    let (met, of) = document.score();
    eprintln!("{met} of {of} targets are met");
    if document.is_complete() { Ok(()) } else { Err(Failure::new("not everything was measured")) }
}

fn run(plan: Plan) -> Result<Document, Failure> {
    let mut notes = Vec::new();
    if plan.is_quick {
        notes.push("A quick run: its figures mean nothing.".to_owned());
    }
    if cfg!(debug_assertions) {
        notes.push("A debug build: its figures mean nothing.".to_owned());
    }
    let (plan, limit) = plan.limited(machine::most_sessions());
    notes.extend(limit);
    let mut facts = machine::facts();
    if let Some(load) = machine::load() {
        facts.push(("load average before the run", format!("{load:.2}")));
    }
    let began = Instant::now();
    let (parts, commands) = rows::measure(plan)?;
    facts.push(("the run took", format!("{} s", began.elapsed().as_secs())));
    Ok(Document { facts, parts, commands, notes })
}
