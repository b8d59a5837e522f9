//! The handle of tracing, which takes spans over and exports them.

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::SpanData;

use super::config::{Config, StartError};
use super::export::{self, Pipeline};
use super::sampling::Ratio;

/// Decides about recording, and takes the spans over.
pub struct Tracing {
    pub(super) ratio: Ratio,
    pub(super) scope: InstrumentationScope,
    pub(super) pipeline: Pipeline,
}

impl Tracing {
    /// Must be called inside the runtime that is to do the exports. The
    /// collector need not be there.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let scope = InstrumentationScope::builder("bridgehead")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let pipeline = Pipeline::start(config)?;
        Ok(Self { ratio: Ratio::new(config.sample), scope, pipeline })
    }

    /// Finds out whether spans could be exported as configured, as far as that can
    /// be known without a collector. Must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// The reason why they cannot be exported.
    pub fn check(config: &Config) -> Result<(), StartError> {
        export::exporter(config).map(drop)
    }

    /// Exports the waiting spans, for two seconds at most.
    pub async fn stop(&self) {
        self.pipeline.stop().await;
    }

    pub(super) fn export(&self, span: SpanData) {
        self.pipeline.take(span);
    }
}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracing").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}
