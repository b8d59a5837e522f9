//! A gateway with one core, and one with two.

use super::{Bench, Series, ratios};
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::Unit;
use crate::gateway::Setup;
use crate::machine;
use crate::table::{Row, Target};

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let cpus = machine::cpus();
    let [first, second, ..] = cpus[..] else {
        return Err(Failure::new("this takes two cores, and this process may use one"));
    };
    let one = bench.gateway(&Setup { cpus: &[first], ..Setup::default() })?;
    let two = bench.gateway(&Setup { cpus: &[first, second], ..Setup::default() })?;
    let (mut of_one, mut of_two) = (Series::default(), Series::default());
    for round in 0..bench.plan.rounds {
        let mut pair = [(&one, &mut of_one), (&two, &mut of_two)];
        if round % 2 == 1 {
            pair.reverse();
        }
        for (gateway, series) in pair {
            series.add(&bench.call(&bench.calls(gateway, 64, 1))?);
        }
    }
    // Requests that a second of the cores' time carries.
    let carried = ratios(&of_one.cpu, &of_two.cpu).into_iter().map(|ratio| 2.0 * ratio).collect();
    let rates = ratios(&of_two.rate, &of_one.rate);
    let rows = vec![
        Row::new("requests that two cores' time carries, of one's", Unit::Times, carried)
            .with(Target::AtLeast(1.7)),
        Row::new("requests a second, of one core's, all on the same cores", Unit::Times, rates),
    ];
    Ok(Group {
        intro: format!(
            "64 connections with a call in flight each. The gateway may use CPU {first}, or {first} \
             and {second} (taskset); service and generator are where the kernel puts them, and on a \
             machine of few cores take as much as the gateway. So what counts is CPU time: a core \
             carries as many requests a second as go into a second of it."
        ),
        rows,
        loads: vec![of_one.line("gateway, one core"), of_two.line("gateway, two cores")],
        warnings: of_one.warnings.into_iter().chain(of_two.warnings).collect(),
    })
}
