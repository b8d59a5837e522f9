//! Keeps the endpoints of a `dns:///` name in line with its resolved addresses.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::pool::Pool;
use super::reconnect;
use super::resolver;
use super::source::Name;

/// How often a name is resolved anew. The operating system's resolver gives no
/// time to live.
const INTERVAL: Duration = Duration::from_secs(30);
/// The least time between two look-ups, when connections fail or the last
/// look-up did.
const SOONEST: Duration = Duration::from_secs(1);

/// Runs until the pool is gone, and with it the sender of `stale`, which asks
/// for the next look-up to come soon.
pub(super) async fn keep(
    pool: Weak<Pool>,
    name: Name,
    source: usize,
    mut stale: watch::Receiver<()>,
) {
    let mut first = true;
    loop {
        stale.mark_unchanged();
        let found = resolver::resolve(&*name.resolver, &name.host).await;
        let Some(pool) = pool.upgrade() else { return };
        let problem = match found {
            Ok(addresses) => {
                let targets = addresses.into_iter().map(|address| name.target(address)).collect();
                for endpoint in pool.resolved(source, first, targets) {
                    reconnect::start(&pool, &endpoint);
                }
                pool.journal().resolved(&name.label);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let failed = problem.is_some();
        if let Some(problem) = problem {
            pool.journal().failed(&name.label, &problem);
            pool.unresolvable(first, problem.into());
        }
        drop(pool);
        first = false;
        sleep(SOONEST).await;
        if !failed
            && matches!(
                timeout(INTERVAL.saturating_sub(SOONEST), stale.changed()).await,
                Ok(Err(_))
            )
        {
            return;
        }
    }
}
