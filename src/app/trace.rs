//! Tracing as part of the gateway: from its section of routes.yaml to a
//! running export.

use std::sync::Arc;

use super::problem::Problem;
use crate::config::{ClientTls, Config, Secret};
use crate::trace::{self, StartError, Tls, Tracing};

/// Starts to export in the background, if spans are to be recorded. The
/// collector need not be there yet.
pub(super) fn start(config: &Config, node: String) -> Result<Option<Arc<Tracing>>, Problem> {
    let Some(config) = export(config, node) else { return Ok(None) };
    let started = Tracing::start(&config).map_err(problem)?;
    tracing::info!(collector = config.collector, sample = config.sample, "recording traces");
    Ok(Some(Arc::new(started)))
}

/// Checks that the settings of the section can be used.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    let config = export(config, String::new());
    config.map_or(Ok(()), |config| Tracing::check(&config).map_err(problem))
}

/// `None`: nothing is to be recorded.
fn export(config: &Config, node: String) -> Option<trace::Config> {
    let section = config.tracing.as_ref()?;
    let header = |(name, value): (&String, &Secret)| (name.clone(), value.expose().to_owned());
    Some(trace::Config {
        collector: section.otlp.clone()?,
        sample: section.sample,
        service_name: section.service_name.clone(),
        instance: node,
        headers: section.headers.iter().map(header).collect(),
        timeout: section.timeout,
        tls: section.tls.as_ref().map(tls).unwrap_or_default(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn problem(error: StartError) -> Problem {
    let path = match &error {
        StartError::Header(name) => ["tracing", "headers", name].map(str::to_owned).to_vec(),
        StartError::Tls(_) => ["tracing", "tls"].map(str::to_owned).to_vec(),
        StartError::Collector(_) => ["tracing", "otlp"].map(str::to_owned).to_vec(),
    };
    Problem { path, message: error.to_string(), help: None }
}

fn tls(tls: &ClientTls) -> Tls {
    Tls {
        ca: tls.ca.clone(),
        client: tls.cert.clone().zip(tls.key.clone()),
        domain: tls.domain.clone(),
    }
}
