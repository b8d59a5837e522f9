//! Warnings that any client can cause: one a minute is enough. Each kind of
//! warning shares one [`Seldom`] among all workers.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(60);

/// Says when a warning is due.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// When the last one was, and how many were left out since.
    last: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Whether to warn now; then how many were left out before.
    pub(crate) fn is_due(&self) -> Option<u64> {
        let now = Instant::now();
        let (last, left_out) = &mut *self.last.lock();
        if last.is_some_and(|last| now.duration_since(last) < EVERY) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_in_a_minute_says_how_many_there_were() {
        let seldom = Seldom::default();
        assert_eq!(seldom.is_due(), Some(0));
        assert!((0..1000).all(|_| seldom.is_due().is_none()));
        tokio::time::advance(EVERY).await;
        assert_eq!([seldom.is_due(), seldom.is_due()], [Some(1000), None]);
    }
}
