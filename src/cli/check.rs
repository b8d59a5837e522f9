//! `bridgehead check`: whether a configuration can be used, and what it means.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_CONFIG, report};
use crate::app::{Problem, Reflection, Resolved, Resolver};
use crate::config;

/// Checks the configuration, resolves every route and prints the table.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// Do not ask servers for their descriptors; routes of upstreams that use
    /// reflection are not resolved.
    #[arg(long)]
    offline: bool,
}

impl Check {
    /// Checks; the exit code is 0 if the configuration can be used, 1 if not,
    /// and 64 if the file cannot be read at all.
    pub(super) fn run(self) -> ExitCode {
        super::block_on(self.check())
    }

    async fn check(self) -> ExitCode {
        let (loaded, mut diagnostics) =
            config::load_tolerant(&self.config, &config::process_environment);
        let Some(loaded) = loaded else {
            report::diagnostics(&diagnostics);
            let missing = !self.config.exists();
            return if missing { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE };
        };
        let mode = if self.offline { Reflection::Offline } else { Reflection::Ask };
        let resolved = Resolver::new(1).resolve(&loaded.config, mode).await;
        let unreachable = resolved.pending.iter().map(|(upstream, reason)| Problem {
            path: vec!["upstreams".into(), upstream.clone()],
            message: reason.clone(),
            help: Some("start the service, or check with --offline".into()),
        });
        let unreachable: Vec<_> = unreachable.filter(|_| !self.offline).collect();
        for problem in resolved.problems.iter().chain(&unreachable) {
            problem.report(&loaded, &mut diagnostics);
        }
        report::diagnostics(&diagnostics);
        if diagnostics.has_errors() {
            return ExitCode::FAILURE;
        }
        match print_table(&resolved) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // nobody reads
        }
    }
}

fn print_table(resolved: &Resolved) -> std::io::Result<()> {
    let table = &resolved.services.routes;
    let rows: Vec<[String; 5]> = table
        .routes()
        .map(|route| {
            [
                route.name.to_string(),
                route.rpc.to_string(),
                route.upstream.name().to_owned(),
                humantime::format_duration(route.timeout).to_string(),
                [(route.public, "public"), (route.retry, "retry"), (route.validate, "validate")]
                    .iter()
                    .filter_map(|(is, name)| is.then_some(*name))
                    .collect::<Vec<_>>()
                    .join(" "),
            ]
        })
        .collect();
    let mut out = std::io::stdout().lock();
    write_columns(&mut out, ["METHOD", "RPC", "UPSTREAM", "TIMEOUT", ""], &rows)?;
    for (method, _) in table.pending() {
        writeln!(out, "{method}  (not resolved: its upstream was not asked)")?;
    }
    writeln!(out, "{} routes, {} not resolved", rows.len(), table.pending().len())
}

fn write_columns(
    out: &mut impl Write,
    head: [&str; 5],
    rows: &[[String; 5]],
) -> std::io::Result<()> {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = head.map(str::to_owned);
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
