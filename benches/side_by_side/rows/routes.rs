//! A table of few routes and one of very many.

use super::{Bench, Series, ratios};
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::Unit;
use crate::gateway::Setup;
use crate::table::{Row, Target};

/// Routes of the two gateways.
const ROUTES: [usize; 2] = [10, 10_000];

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let many = bench.gateway(&Setup { routes: ROUTES[1], ..Setup::default() })?;
    let few = bench.gateway(&Setup { routes: ROUTES[0], ..Setup::default() })?;
    let (mut of_few, mut of_many) = (Series::default(), Series::default());
    for round in 0..bench.plan.rounds {
        let mut pair = [(&few, &mut of_few), (&many, &mut of_many)];
        // Neither is always the first.
        if round % 2 == 1 {
            pair.reverse();
        }
        for (gateway, series) in pair {
            series.add(&bench.call(&bench.calls(gateway, 64, 1))?);
        }
    }
    let ratios = ratios(&of_many.cpu, &of_few.cpu);
    let row = Row::new("CPU a request with 10,000 routes, of that with 10", Unit::Times, ratios);
    Ok(Group {
        intro: "64 connections with a call in flight each, of two gateways in turn.".into(),
        rows: vec![row.with(Target::Unchanged)],
        loads: vec![of_few.line("gateway, 10 routes"), of_many.line("gateway, 10,000 routes")],
        warnings: of_few.warnings.into_iter().chain(of_many.warnings).collect(),
    })
}
