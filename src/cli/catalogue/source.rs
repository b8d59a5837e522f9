//! Where descriptors are looked for, as arguments of a command.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Catalogue, CatalogueError};
use crate::cli::diagnose;
use crate::cli::failure::Failure;
use crate::config;

/// The configuration that is read where none is named.
const DEFAULT_CONFIG: &str = "routes.yaml";

/// Which descriptors to use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Descriptors")]
pub(in crate::cli) struct Source {
    /// The gateway's configuration [default: routes.yaml, if it is there].
    ///
    /// It names methods and their descriptors. Without one, the methods of the demo are
    /// known.
    #[arg(short, long, value_name = "FILE", conflicts_with = "descriptors")]
    config: Option<PathBuf>,
    /// A serialized `FileDescriptorSet` with the messages; may be repeated.
    #[arg(long, value_name = "FILE")]
    descriptors: Vec<PathBuf>,
}

impl Source {
    /// The catalogue of these descriptors.
    pub(in crate::cli) async fn catalogue(&self) -> Result<Catalogue, Failure> {
        if let Some(path) = &self.config {
            diagnose::must_exist(path)?;
            let loaded = config::load(path, &config::process_environment);
            let loaded = loaded.map_err(|wrong| diagnose::unusable(&wrong))?;
            return Ok(Catalogue::of_gateway(&loaded.config).await);
        }
        let unusable = |error: CatalogueError| Failure::usage(error);
        if !self.descriptors.is_empty() {
            return Catalogue::from_files(&self.descriptors).map_err(unusable);
        }
        // The file may well be for something else: errors in it do not matter here,
        // and the demo's own hints must work.
        let path = Path::new(DEFAULT_CONFIG);
        let gateway = match config::load_tolerant(path, &config::process_environment).0 {
            Some(loaded) => Catalogue::of_gateway(&loaded.config).await,
            None => Catalogue { is_demo_only: !path.exists(), ..Catalogue::default() },
        };
        Ok(gateway.or(Catalogue::demo().map_err(unusable)?))
    }
}
