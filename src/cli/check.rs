//! `bridgehead check`: whether a configuration can be used, and what it means.

mod checked;
mod report;

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::{Output, print};
use super::{diagnose, runtime};
use crate::app::{self, Problem, Reflection, Resolved, Resolver};
use crate::config;
use checked::Checked;
use report::Report;

/// Check the configuration, resolve every route and print the table.
///
/// The exit code is 64 where the file is wrong, also if something that was asked
/// failed besides; 1 where the file is right as far as can be known, and something
/// that was asked failed: a server for its descriptors, an identity provider for its
/// keys; and 0 otherwise, warnings or not.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// Ask no server for descriptors and no identity provider for keys.
    ///
    /// Routes of upstreams that use reflection are not resolved then.
    #[arg(long)]
    offline: bool,
    /// Print the effective configuration, in place of the table.
    ///
    /// It has the defaults and the environment filled in, and is YAML that can be
    /// used as a configuration again, but for its secrets: each is masked. JSON of any
    /// shape, such as the request of `auth.rpc`, keeps its variables.
    #[arg(long, conflicts_with = "output")]
    print: bool,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    output: Output,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.config.exists() && self.output == Output::Text {
            let missing = format!("{} does not exist", self.config.display());
            return Err(Failure::usage(missing).help("name the configuration with -c"));
        }
        let checked = runtime::block_on(async { Ok(self.check().await) })?;
        let verdict = checked.verdict();
        if self.output == Output::Json {
            let report = Report::new(&self.config, &checked, verdict.is_ok());
            print(&report.json()?)?;
            return verdict;
        }
        diagnose::print(&checked.all());
        verdict?;
        let (Some(loaded), Some(resolved)) = (&checked.loaded, &checked.resolved) else {
            return Ok(());
        };
        if self.print {
            return print(loaded.effective().trim_end());
        }
        let logins = report::logins(&loaded.config.auth.judge, resolved);
        let clients = report::clients(&loaded.config.edge).join(", ");
        print(&format!("{}\nclients: {clients}\nlogins: {logins}", report::table(resolved)))
    }

    async fn check(&self) -> Checked {
        let (loaded, mut file) = config::load_tolerant(&self.config, &config::process_environment);
        let Some(loaded) = loaded else {
            return Checked { loaded: None, resolved: None, file, asked: None };
        };
        let mode = if self.offline { Reflection::Offline } else { Reflection::Ask };
        let resolved = Resolver::new(1).resolve(&loaded.config, mode).await;
        let before = file.clone();
        for problem in resolved.problems.iter().chain(&app::file_problems(&loaded.config)) {
            // One mistake is said once, where it was found first.
            if !loaded.has_error_at(&problem.path(), &before) {
                problem.report(&loaded, &mut file);
            }
        }
        for warning in &resolved.warnings {
            warning.warn(&loaded, &mut file);
        }
        file.tidy();
        let mut asked = loaded.diagnostics();
        for problem in self.unanswered(&resolved) {
            if !loaded.has_error_at(&problem.path(), &before) {
                problem.report(&loaded, &mut asked);
            }
        }
        asked.tidy();
        Checked { loaded: Some(loaded), resolved: Some(resolved), file, asked: Some(asked) }
    }

    fn unanswered(&self, resolved: &Resolved) -> Vec<Problem> {
        let pending = resolved.pending.iter().filter(|_| !self.offline);
        let unreachable = pending.map(|(upstream, reason)| Problem {
            path: vec!["upstreams".into(), upstream.clone(), "address".into()],
            message: reason.clone(),
            help: Some("start the service, or leave it out of this check: --offline".into()),
        });
        let unfetched = resolved.unfetched.iter().map(|problem| Problem {
            help: Some("leave it out of this check: --offline".to_owned()),
            ..problem.clone()
        });
        unreachable.chain(unfetched).collect()
    }
}
