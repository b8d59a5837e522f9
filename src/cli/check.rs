//! `bridgehead check`: whether a configuration can be used, and what it means.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::{diagnose, runtime};
use crate::app::{self, Problem, Reflection, Resolved, Resolver};
use crate::auth::Authenticator;
use crate::config::{self, EdgeConfig, Judge, PathConfig};

/// Check the configuration, resolve every route and print the table.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// Do not ask servers for their descriptors, nor an identity provider for
    /// its keys. Routes of upstreams that use reflection are not resolved then.
    #[arg(long)]
    offline: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.config.exists() {
            let missing = format!("{} does not exist", self.config.display());
            return Err(Failure::usage(missing).help("name the configuration with -c"));
        }
        let table = runtime::block_on(self.check())?;
        print(&table)
    }

    async fn check(self) -> Result<String, Failure> {
        let (loaded, mut diagnostics) =
            config::load_tolerant(&self.config, &config::process_environment);
        let Some(loaded) = loaded else {
            diagnose::print(&diagnostics);
            return Err(Failure::failed(""));
        };
        let mode = if self.offline { Reflection::Offline } else { Reflection::Ask };
        let resolved = Resolver::new(1).resolve(&loaded.config, mode).await;
        for problem in resolved.problems.iter().chain(&app::file_problems(&loaded.config)) {
            problem.report(&loaded, &mut diagnostics);
        }
        for warning in &resolved.warnings {
            warning.warn(&loaded, &mut diagnostics);
        }
        for (upstream, reason) in resolved.pending.iter().filter(|_| !self.offline) {
            let unreachable = Problem {
                path: vec!["upstreams".into(), upstream.clone(), "address".into()],
                message: reason.clone(),
                help: Some("start the service, or leave it out of this check: --offline".into()),
            };
            unreachable.report(&loaded, &mut diagnostics);
        }
        if let Some(unfetched) = &resolved.unfetched {
            let help = "leave it out of this check: --offline".to_owned();
            let unfetched = Problem { help: Some(help), ..unfetched.clone() };
            unfetched.report(&loaded, &mut diagnostics);
        }
        diagnostics.tidy();
        diagnose::print(&diagnostics);
        if diagnostics.has_errors() {
            return Err(Failure::failed(""));
        }
        let logins = logins(&loaded.config.auth.judge, &resolved);
        Ok([table(&resolved), clients(&loaded.config.edge), logins].join("\n"))
    }
}

fn table(resolved: &Resolved) -> String {
    let routes = &resolved.services.routes;
    let mut rows = vec![["METHOD", "RPC", "UPSTREAM", "TIMEOUT", ""].map(str::to_owned)];
    for route in routes.routes() {
        let traits =
            [(route.public, "public"), (route.retry, "retry"), (route.validate, "validate")];
        let traits: Vec<_> = traits.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        rows.push([
            route.name.to_string(),
            route.rpc.to_string(),
            route.upstream.name().to_owned(),
            humantime::format_duration(route.timeout).to_string(),
            traits.join(" "),
        ]);
    }
    let mut lines = in_columns(&rows);
    for (method, _) in routes.pending() {
        let all = if method.ends_with('/') { "*" } else { "" };
        lines.push(format!("{method}{all}  not resolved: its upstream was not asked"));
    }
    lines.push(format!("{} routes, {} not resolved", routes.len(), routes.pending().len()));
    lines.join("\n")
}

/// Where clients connect.
fn clients(edge: &EdgeConfig) -> String {
    let written = |(path, PathConfig { server_iv }): (&str, PathConfig)| {
        format!("{path}{}", if server_iv { " (server_iv)" } else { "" })
    };
    let paths: Vec<_> = edge.paths().into_iter().map(written).collect();
    format!("clients: {}", paths.join(", "))
}

/// Who judges logins, and with which keys.
fn logins(judge: &Judge, resolved: &Resolved) -> String {
    match (judge, &resolved.services.auth) {
        (Judge::None(_), _) => "logins: every token is accepted".to_owned(),
        (Judge::Rpc(call), _) => format!("logins: {} ({}) is asked", call.rpc, call.upstream),
        (Judge::Jwt(_), Authenticator::Jwt(jwt)) => format!("logins: JWT, keys of {}", jwt.keys()),
        (Judge::Jwt(_), _) => "logins: JWT".to_owned(),
    }
}

fn in_columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
