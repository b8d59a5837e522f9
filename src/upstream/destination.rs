//! An upstream together with the metadata that its calls carry.

use std::ops::Deref;
use std::sync::Arc;

use super::Upstream;
use super::rules::Rules;

/// Where calls go, and which metadata they carry there.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The service.
    pub upstream: Arc<Upstream>,
    /// `None`: calls carry the usual metadata.
    pub rules: Option<Arc<Rules>>,
}

impl Deref for Destination {
    type Target = Arc<Upstream>;

    fn deref(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}
