//! `bridgehead check`: whether a configuration can be used, and its meaning.

mod checked;
mod connections;
mod report;

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::{Output, print, print_with_verdict};
use super::{diagnose, runtime};
use crate::app::{self, Problem, Reflection, Resolved, Resolver};
use crate::config::{self, Config};
use checked::Checked;
use report::Report;

/// Check the configuration, resolve every route and print the table.
///
/// The exit code is 64 if the file has an error. It is 1 if the file has none, and a
/// service cannot be connected to or does not describe its methods, or an identity
/// provider does not send its keys. Otherwise it is 0, with or without warnings.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// Connect to no service and to no identity provider.
    ///
    /// Routes of upstreams that use reflection are not resolved then, and no address is
    /// tried.
    #[arg(long)]
    offline: bool,
    /// Print the effective configuration, in place of the table.
    ///
    /// Defaults and environment variables are filled in, and secrets are masked. Apart
    /// from these it is YAML that can be used as a configuration again. JSON of any
    /// shape, such as the request of `auth.rpc`, keeps its variables.
    #[arg(long, conflicts_with = "output")]
    print: bool,
    /// The format of the result.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    output: Output,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.output == Output::Text {
            diagnose::must_exist(&self.config)?;
        }
        let checked = runtime::block_on(async { Ok(self.check().await) })?;
        let verdict = checked.verdict();
        if self.output == Output::Json {
            let report = Report::new(&self.config, &checked, verdict.is_ok());
            return print_with_verdict(&report.json()?, verdict);
        }
        diagnose::print(&checked.all());
        if self.print
            && let Some(loaded) = checked.loaded.as_ref().filter(|_| checked.is_file_good())
        {
            // Also where a service does not answer: the file is right.
            return print_with_verdict(loaded.effective().trim_end(), verdict);
        }
        verdict?;
        let (Some(loaded), Some(resolved)) = (&checked.loaded, &checked.resolved) else {
            return Ok(());
        };
        let logins = report::logins(&loaded.config.auth.judge, resolved);
        let clients = report::clients(&loaded.config.edge).join(", ");
        print(&format!(
            "{}\nclients: {clients}\nlogins: {logins}",
            report::table(resolved, &loaded.config)
        ))
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
            // One mistake is reported once, where it was found first.
            if !loaded.has_error_at(&problem.path(), &before) {
                problem.report(&loaded, &mut file);
            }
        }
        for warning in &resolved.warnings {
            warning.warn(&loaded, &mut file);
        }
        file.tidy();
        let mut asked = loaded.diagnostics();
        for problem in self.unanswered(&loaded.config, &resolved).await {
            if !loaded.has_error_at(&problem.path(), &before) {
                problem.report(&loaded, &mut asked);
            }
        }
        asked.tidy();
        Checked { loaded: Some(loaded), resolved: Some(resolved), file, asked: Some(asked) }
    }

    /// Problems with servers and identity providers that did not answer.
    async fn unanswered(&self, config: &Config, resolved: &Resolved) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.offline {
            problems = connections::problems(config, resolved).await;
        }
        problems.extend(resolved.unfetched.iter().map(|problem| Problem {
            help: Some("leave it out of this check: --offline".to_owned()),
            ..problem.clone()
        }));
        problems
    }
}
