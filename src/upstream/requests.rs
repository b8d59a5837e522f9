//! The further messages of a request, with back-pressure, and its end.
//!
//! An attempt attaches its stream to an [`Outlet`]; the caller sends through a
//! [`Requests`] to whichever is attached. As soon as it has sent something the
//! call cannot be sent again, since nothing is kept.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::SendStream;
use parking_lot::Mutex;

use super::framing::{self, Payload};

/// Sends the further messages of a call.
///
/// Dropping it sends nothing: a request that was cut off must not look complete.
/// The service is notified by [`Self::half_close`], or by the end of the call.
pub struct Requests {
    outlet: Arc<Outlet>,
}

/// A message that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The service, or the caller, has ended the request. The response says more.
    #[error("the call takes no more messages")]
    Over,
    /// It exceeds the 4 GiB that gRPC allows.
    #[error("the request message exceeds gRPC's 4 GiB")]
    TooLong,
}

/// The way to the stream of the current attempt.
#[derive(Default)]
pub(super) struct Outlet {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None`: no attempt is under way.
    stream: Option<SendStream<Payload>>,
    /// Whether anything was sent but the first message.
    used: bool,
    /// Whether there will be no more: the call has ended, or its request has.
    over: bool,
    /// Whether the end of the request was sent, or the service knows of it.
    ended: bool,
    /// The caller, who waits for a stream, or for room on it.
    waker: Option<Waker>,
}

impl Requests {
    pub(super) fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet }
    }

    /// Waits until the service, and the network, can take another message. One
    /// that is larger than their room is still sent whole, and waits in memory.
    ///
    /// The call makes progress only while its response is polled, so that has to
    /// be polled meanwhile.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn ready(&mut self) -> Result<(), Unsent> {
        poll_fn(|context| self.outlet.state.lock().poll_ready(context)).await
    }

    /// Sends a message as soon as there is room for it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the message was not sent then.
    pub async fn send(&mut self, message: Bytes) -> Result<(), Unsent> {
        let payload = framing::frame(message).map_err(|_| Unsent::TooLong)?;
        let mut payload = Some(payload);
        poll_fn(|context| {
            let mut state = self.outlet.state.lock();
            ready!(state.poll_ready(context))?;
            let Some(payload) = payload.take() else { return Poll::Ready(Ok(())) };
            Poll::Ready(state.send(payload, false))
        })
        .await
    }

    /// Signals the service that there are no more messages. The response goes on.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, and called again.
    pub async fn half_close(&mut self) -> Result<(), Unsent> {
        poll_fn(|context| {
            let mut state = self.outlet.state.lock();
            ready!(state.poll_attached(context))?;
            Poll::Ready(state.send(framing::nothing(), true))
        })
        .await
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl State {
    /// Waits for the stream of an attempt.
    fn poll_attached(&mut self, context: &Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.over {
            return Poll::Ready(Err(Unsent::Over));
        }
        if self.stream.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until all that was sent before is within the windows, and there is
    /// room for more.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        ready!(self.poll_attached(context))?;
        // The stream may be exchanged for that of another attempt meanwhile.
        self.waker = Some(context.waker().clone());
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(Unsent::Over)) };
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Over)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, payload: Payload, ends: bool) -> Result<(), Unsent> {
        self.used = true;
        let Some(stream) = &mut self.stream else { return Err(Unsent::Over) };
        stream.send_data(payload, ends).map_err(|_| Unsent::Over)?;
        (self.over, self.ended) = (ends, ends);
        Ok(())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Outlet {
    /// An attempt has been sent.
    pub(super) fn attach(&self, stream: SendStream<Payload>) {
        let mut state = self.state.lock();
        if !state.over {
            state.stream = Some(stream);
        }
        state.wake();
    }

    /// The attempt is over.
    pub(super) fn detach(&self) {
        self.state.lock().stream = None;
    }

    /// The call is over.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.stream = None;
        state.wake();
    }

    /// Whether anything was sent that another attempt could not repeat.
    pub(super) fn is_used(&self) -> bool {
        self.state.lock().used
    }

    /// The service has ended the stream: ends the request as well, so that there
    /// is nothing to reset. Returns whether that is possible: data that it has no
    /// room for would wait forever.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(stream) = state.stream.as_mut().filter(|_| !state.ended) {
            stream.reserve_capacity(1);
            if stream.capacity() > 0 {
                // Fails only for a stream that is closed already.
                let _ = stream.send_data(framing::nothing(), true);
                state.ended = true;
            } else {
                // Many servers reset streams that they do not read any more.
                let mut context = Context::from_waker(Waker::noop());
                state.ended = matches!(stream.poll_capacity(&mut context), Poll::Ready(None));
            }
        }
        state.over = true;
        state.wake();
        state.ended
    }

    /// Whether the end of the request has not been sent to the service.
    pub(super) fn is_open(&self) -> bool {
        !self.state.lock().ended
    }
}
