//! The same rate over few connections and over very many.

use super::{Bench, Series};
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::{Unit, number};
use crate::gateway::Setup;
use crate::load::Calls;
use crate::table::{Row, Target};

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let gateway = bench.gateway(&Setup::default())?;
    let rate = bench.easy_rate(&gateway)?;
    let counts = bench.plan.connections;
    let mut series = counts.map(|_| Series::default());
    for _ in 0..bench.plan.few_rounds {
        for (connections, series) in counts.iter().zip(&mut series) {
            let calls = bench.calls(&gateway, *connections, 64);
            series.add(&bench.call(&Calls { rate: Some(rate), ..calls })?);
        }
    }
    let differences = (0..bench.plan.few_rounds).map(|round| {
        let cpu = series.iter().filter_map(|series| series.cpu.get(round).copied());
        cpu.clone().fold(0.0, f64::max) / cpu.fold(f64::INFINITY, f64::min)
    });
    let names = counts.map(|count| Unit::Count.show(number(count)));
    let what = format!("CPU a request at {} connections, most to least", names.join(", "));
    let row = Row::new(what, Unit::Times, differences.collect()).with(Target::AtMost(1.25));
    let lines = names.iter().zip(&series);
    let lines = lines.map(|(name, series)| series.line(format!("gateway, {name} connections")));
    Ok(Group {
        intro: format!(
            "{} requests a second, shared by all connections: a third of what 64 connections carry \
             on this machine.",
            Unit::Count.show(rate)
        ),
        rows: vec![row],
        loads: lines.collect(),
        warnings: series.iter().flat_map(|series| series.warnings.iter().cloned()).collect(),
    })
}
