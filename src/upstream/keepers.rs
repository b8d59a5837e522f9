//! Starts the tasks that keep the connections of a worker.

use std::sync::Arc;

use super::journal::Journal;
use super::pool::Pool;
use super::source::Source;
use super::{reconnect, resolve};

/// Starts connecting to everything that `sources` name, with so many connections to
/// each endpoint. Must be called inside the worker's runtime.
pub(super) fn start(sources: &[Source], connections: usize, journal: Arc<Journal>) -> Arc<Pool> {
    let pool = Pool::new(connections, journal);
    for (index, source) in sources.iter().enumerate() {
        match source {
            Source::Single(target) => reconnect::start(&pool, &pool.add(target.clone(), index)),
            Source::Name(name) => {
                let stale = pool.expect_name();
                tokio::spawn(resolve::keep(Arc::downgrade(&pool), name.clone(), index, stale));
            }
        }
    }
    pool
}
