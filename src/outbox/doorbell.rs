//! Wakes the sessions of one worker thread from other threads.
//!
//! Waking a task of another thread's runtime takes a system call, which costs
//! about as much as a tenth of writing to a socket; a push to very many sessions
//! would pay for it each time. So sessions that are to be woken are put on a
//! list, and only the first on it rings: the worker then wakes all that are on
//! the list by then, which costs next to nothing on its own thread.

use std::mem;
use std::pin::pin;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The sessions of one worker that others want to wake.
#[derive(Debug, Default)]
pub struct Doorbell {
    waiting: Mutex<Vec<Waker>>,
    bell: Notify,
    answered: Notify,
}

impl Doorbell {
    /// Has a task woken by [`Self::answer`]. May be called from any thread.
    pub fn ring(&self, task: Waker) {
        let mut waiting = self.waiting.lock();
        waiting.push(task);
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            self.bell.notify_one();
        }
    }

    /// Wakes sessions for ever; to be run once, on the worker's own runtime.
    pub async fn answer(&self) {
        loop {
            self.bell.notified().await;
            // Later entries ring again.
            let waiting = mem::take(&mut *self.waiting.lock());
            waiting.into_iter().for_each(Waker::wake);
            self.answered.notify_waiters();
        }
    }

    /// Waits until fewer than `count` sessions are to be woken. A push to very
    /// many sessions should wait: it keeps outboxes from filling very much faster
    /// than the worker, which has woken them but not run them all, empties them.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn has_fewer_than(&self, count: usize) {
        loop {
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.waiting.lock().len() < count {
                return;
            }
            answered.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn everybody_is_woken_however_many_ring_together() {
        let doorbell = Arc::new(Doorbell::default());
        let answering = Arc::clone(&doorbell);
        tokio::spawn(async move { answering.answer().await });
        let (registered, mut wakers) = mpsc::unbounded_channel();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let registered = registered.clone();
            let mut polls = 0;
            tasks.spawn(poll_fn(move |cx| {
                polls += 1;
                if polls == 4 {
                    return Poll::Ready(());
                }
                registered.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }));
        }
        drop(registered);
        let ringing = tokio::task::spawn_blocking(move || {
            while let Some(waker) = wakers.blocking_recv() {
                doorbell.ring(waker);
            }
        });
        tasks.join_all().await;
        ringing.await.unwrap();
    }
}
