//! The outbox: what waits to be written to one session's socket.
//!
//! Answers and pushes share it, so there is one order and one back-pressure
//! rule. Anybody on any thread may put something in; the session's task alone
//! takes out, seals and writes. It counts bytes and has one overflow policy: a
//! session whose client does not keep up is closed ([`Close::TooSlow`]), and
//! whoever puts in is never blocked.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use parking_lot::Mutex;

use crate::envelope::Close;

/// A bounded queue of frames for one session.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<BytesMut>,
    bytes: usize,
    ping: bool,
    /// Why to close, until the session's task has been told.
    close: Option<Close>,
    /// The session was asked to leave once its calls are answered.
    leaving: bool,
    /// Nothing goes in any more.
    sealed: bool,
    waker: Option<Waker>,
}

/// What the session's task has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Signal {
    /// Send a WebSocket ping.
    Ping,
    /// Close the session. Given once.
    Close(Close),
}

/// The outbox took nothing: the session is closed or being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// This very frame was too much; the session is being closed as too slow.
    #[error("the outbox overflowed")]
    Overflowed,
    /// The session was already closing.
    #[error("the session is closing")]
    Closed,
}

impl Outbox {
    /// An outbox that overflows when a frame is put behind `limit` or more bytes.
    /// One frame always fits into an empty outbox, however large it is.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Queues a serialized, not yet sealed frame.
    pub fn put(&self, frame: BytesMut) -> Result<(), Rejected> {
        let mut inner = self.inner.lock();
        if inner.sealed {
            return Err(Rejected::Closed);
        }
        if inner.bytes >= self.limit {
            inner.close = Some(Close::TooSlow);
            inner.leaving = true;
            inner.sealed = true;
            // Memory is what the limit is for: give it back at once.
            inner.frames = VecDeque::new();
            inner.bytes = 0;
            wake(inner.waker.take());
            return Err(Rejected::Overflowed);
        }
        inner.bytes += frame.len();
        inner.frames.push_back(frame);
        wake(inner.waker.take());
        Ok(())
    }

    /// Asks the session to send a ping.
    pub fn ping(&self) {
        let mut inner = self.inner.lock();
        inner.ping = true;
        wake(inner.waker.take());
    }

    /// Asks the session to close. The first reason wins, but a session that
    /// is still finishing its calls ([`Close::waits_for_calls`]) can be closed
    /// for another. Frames queued before are still written; later ones are
    /// rejected unless calls are waited for.
    pub fn close(&self, why: Close) {
        let mut inner = self.inner.lock();
        if inner.sealed || (inner.leaving && why.waits_for_calls()) {
            return;
        }
        inner.leaving = true;
        inner.sealed = !why.waits_for_calls();
        inner.close = Some(why);
        wake(inner.waker.take());
    }

    /// Whether the session has been asked to close.
    pub fn is_leaving(&self) -> bool {
        self.inner.lock().leaving
    }

    /// Rejects all that comes from now on. For the session's task, when it closes.
    pub fn seal(&self) {
        self.inner.lock().sealed = true;
    }

    /// The oldest frame. For the session's task.
    pub fn take(&self) -> Option<BytesMut> {
        let mut inner = self.inner.lock();
        let frame = inner.frames.pop_front()?;
        inner.bytes -= frame.len();
        if inner.frames.is_empty() && inner.frames.capacity() > 16 {
            // An idle session keeps no buffer from its busiest moment.
            inner.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Waits for a signal, or for frames to come: `Pending` registers the
    /// task for both. For the session's task, which alone may poll this.
    pub fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        let mut inner = self.inner.lock();
        if let Some(close) = inner.close.take() {
            return Poll::Ready(Signal::Close(close));
        }
        if std::mem::take(&mut inner.ping) {
            return Poll::Ready(Signal::Ping);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Bytes queued now.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    fn frame(len: usize) -> BytesMut {
        BytesMut::zeroed(len)
    }

    fn signal(outbox: &Outbox) -> Poll<Signal> {
        outbox.poll_signal(&mut Context::from_waker(noop_waker_ref()))
    }

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let outbox = Outbox::new(100);
        for len in 1..=20 {
            outbox.put(frame(len)).unwrap_or_else(|error| panic!("{len}: {error}"));
            if len == 10 {
                assert_eq!(outbox.take().unwrap().len(), 1);
            }
            if outbox.bytes() > 90 {
                break;
            }
        }
        assert_eq!(outbox.take().unwrap().len(), 2);
        assert_eq!(outbox.take().unwrap().len(), 3);
    }

    #[test]
    fn a_frame_larger_than_the_limit_fits_when_nothing_waits() {
        let outbox = Outbox::new(10);
        assert_eq!(outbox.put(frame(1000)), Ok(()));
        assert_eq!(outbox.put(frame(1)), Err(Rejected::Overflowed));
    }

    #[test]
    fn an_overflow_gives_the_memory_back_and_closes_once() {
        let outbox = Outbox::new(10);
        outbox.put(frame(10)).unwrap();
        assert_eq!(outbox.put(frame(1)), Err(Rejected::Overflowed));
        assert_eq!(outbox.put(frame(1)), Err(Rejected::Closed));
        assert_eq!((outbox.bytes(), outbox.take()), (0, None));
        outbox.close(Close::Idle);
        assert_eq!(signal(&outbox), Poll::Ready(Signal::Close(Close::TooSlow)));
        assert_eq!(signal(&outbox), Poll::Pending);
    }

    #[test]
    fn a_close_lets_queued_frames_out_and_no_more_in() {
        let outbox = Outbox::new(10);
        outbox.put(frame(3)).unwrap();
        outbox.close(Close::Idle);
        outbox.close(Close::GoingAway);
        assert_eq!(outbox.put(frame(3)), Err(Rejected::Closed));
        assert_eq!(signal(&outbox), Poll::Ready(Signal::Close(Close::Idle)));
        assert_eq!(outbox.take().unwrap().len(), 3);
    }

    #[test]
    fn a_session_that_leaves_still_takes_answers_until_it_is_sealed() {
        let outbox = Outbox::new(10);
        outbox.close(Close::GoingAway);
        assert_eq!(signal(&outbox), Poll::Ready(Signal::Close(Close::GoingAway)));
        outbox.close(Close::GoingAway);
        assert_eq!(signal(&outbox), Poll::Pending);
        assert_eq!(outbox.put(frame(3)), Ok(()));
        outbox.close(Close::Idle);
        assert_eq!(signal(&outbox), Poll::Ready(Signal::Close(Close::Idle)));
        assert_eq!(outbox.put(frame(3)), Err(Rejected::Closed));
    }
}
