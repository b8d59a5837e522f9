//! The session's task: one loop over everything that can happen to a session.
//!
//! Frames are read in order, calls are driven inside the task, and output is
//! gathered until nothing else is ready: then it goes out in one write. So frames
//! that arrive together are answered together.

mod effects;
mod outgoing;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::Worker;
use super::closing;
use super::confirmations::Confirmations;
use super::effects::Effects;
use super::ended::Ended;
use super::socket::{ReadError, Socket};
use super::state::{Appetite, State};
use super::sweeper::{Handle, Stage, Watch};
use crate::auth::Verdict;
use crate::call::{Caller, Client};
use crate::outbox::{Outbox, Signal};
use crate::protocol::{Close, Codec, Protocol, Reply};
use crate::registry::SessionId;
use crate::routing::identity::Member;
use crate::websocket::Message;
use effects::{Decided, Surroundings};
use outgoing::{Greeting, Queue, encode};

/// Queued bytes from which writing comes before anything else.
const WRITE_FIRST: usize = 64 * 1024;
/// Events in a row after which writing comes first, whatever is queued.
const MAX_UNWRITTEN: u8 = 64;

/// Serves one client until its session ends; `held` is dropped then.
///
/// Dropping the future ends the session without a close frame. Calls under way
/// are left to run out in either case, so that no other client of the same
/// upstream connection is hurt.
pub fn run<S>(
    socket: Socket<S>,
    client: Client,
    protocol: Protocol,
    worker: Arc<Worker>,
    held: impl Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut task = Task::new(socket, client, protocol, worker);
    // Nothing is moved or nested in here, since an idle session would pay for it.
    async move {
        let Err(ended) = task.serve().await;
        Box::pin(task.end(ended)).await;
        drop(held);
    }
}

/// An event of a session.
enum Event {
    Frame(Message),
    Replied(Reply),
    Decided(Decided),
    Signal(Signal),
    /// Everything that was queued before the key changes has been written.
    Flushed,
    /// The login was verified once more.
    Reviewed(Verdict),
    /// The client has ended the connection without a close frame.
    Ended,
    ReadFailed(ReadError),
    WriteFailed(io::Error),
}

struct Task<S> {
    socket: Socket<S>,
    state: State,
    fx: Surroundings,
    _watch: Watch,
    confirmations: Confirmations,
    /// Events since the last attempt to write.
    unwritten: u8,
    /// A ping is due, as a heartbeat only.
    wants_heartbeat: bool,
}

enum Never {}

/// Logs at `info` for a user who does not keep up: lost pushes need an
/// explanation.
fn log_closed(caller: &Caller, close: &Close) {
    let (session, code, reason) = (caller.session_id(), close.code(), close.reason());
    if *close == Close::TooSlow && caller.has_user() {
        tracing::info!(session, user = caller.value(Member::UserId), code, reason, "closed");
    } else {
        tracing::debug!(session, code, reason, "closed");
    }
}

impl<S> Task<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn new(socket: Socket<S>, client: Client, protocol: Protocol, worker: Arc<Worker>) -> Self {
        let (outbox, reader) = Outbox::with_doorbell(worker.config.outbox, &worker.doorbell);
        let handle = Arc::new(Handle::new(outbox));
        let watch = worker.sweeper.watch(&handle, Instant::now());
        let (id, ip) = (SessionId::random(), client.remote_ip);
        let caller = Caller::new(client, id.to_string());
        let codec = Codec::open(protocol, &worker.protocols, caller.session_id());
        tracing::debug!(session = caller.session_id(), %ip, "connected");
        Self {
            socket,
            state: State::new(caller),
            fx: Surroundings {
                worker,
                handle,
                outbox: reader,
                codec,
                id,
                membership: None,
                calls: None,
                deciding: None,
                review: None,
                blocked: false,
            },
            _watch: watch,
            confirmations: Confirmations::default(),
            unwritten: 0,
            wants_heartbeat: false,
        }
    }

    async fn serve(&mut self) -> Result<Never, Ended> {
        self.greet().await?;
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            self.on_event(event)?;
            // A client that never lets its session rest shares the worker with others.
            consume_budget().await;
        }
    }

    /// Boxed: only the greeting pays for its future, not the idle session.
    fn greet(&mut self) -> impl Future<Output = Result<(), Ended>> + Send {
        let (codec, worker) = (&self.fx.codec, &self.fx.worker);
        let messages = codec.greeting(&worker.protocols, self.state.caller().session_id());
        let mut greeting = Greeting::new(messages, &worker.traffic);
        let socket = &mut self.socket;
        Box::pin(async move { socket.write(&mut greeting).await.map_err(Ended::Lost) })
    }

    async fn end(&mut self, ended: Ended) {
        let Self { socket, state, fx, confirmations, .. } = self;
        let (code, reason) = ended.told();
        fx.worker.calls.metrics.sessions.closed.inc(code.into());
        fx.handle.set_stage(Stage::Closing);
        fx.end_membership(state.caller(), code, &reason);
        fx.outbox.seal();
        // Before the goodbye, which takes seconds with a client that does not
        // read: responses that are not read meanwhile would fill the windows of
        // the shared upstream connections.
        (fx.calls, fx.deciding, fx.review) = (None, None, None);
        let session = state.caller().session_id();
        match ended {
            Ended::Closed(close) => {
                log_closed(state.caller(), &close);
                let (outbox, codec, traffic) = (&fx.outbox, &fx.codec, &fx.worker.traffic);
                let rest = std::iter::from_fn(|| outbox.take());
                let rest = rest.map(|item| encode(item, codec, traffic));
                closing::say_goodbye(socket, &close, rest, confirmations).await;
            }
            Ended::ByClient(close) => {
                tracing::debug!(session, "closed by the client");
                closing::acknowledge(socket, close).await;
            }
            Ended::Lost(error) => tracing::debug!(session, %error, "lost"),
        }
    }

    /// The next event. Without one, writes the queue.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.unwritten += 1;
        if (self.unwritten >= MAX_UNWRITTEN || self.fx.outbox.outbox().bytes() >= WRITE_FIRST)
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            return Poll::Ready(Event::WriteFailed(error));
        }
        let event = self.poll_sources(cx);
        if self.socket.stream().take_sign() {
            self.fx.handle.heard();
        }
        if event.is_ready() {
            return event;
        }
        let was_blocked = self.fx.blocked;
        match self.poll_write(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Event::WriteFailed(error)),
            Poll::Ready(Ok(())) => {
                if self.state.is_switching() {
                    return Poll::Ready(Event::Flushed);
                }
                if was_blocked {
                    // Has the socket read again.
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending => {}
        }
        Poll::Pending
    }

    fn poll_sources(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let fx = &mut self.fx;
        if let Some(calls) = &mut fx.calls
            && let Poll::Ready(Some(reply)) = calls.poll_next_unpin(cx)
        {
            return Poll::Ready(Event::Replied(reply));
        }
        if let Some(deciding) = &mut fx.deciding
            && let Poll::Ready(decided) = deciding.poll_unpin(cx)
        {
            fx.deciding = None;
            return Poll::Ready(Event::Decided(decided));
        }
        if let Some(review) = &mut fx.review
            && let Poll::Ready(verdict) = review.poll_unpin(cx)
        {
            fx.review = None;
            return Poll::Ready(Event::Reviewed(verdict));
        }
        if let Poll::Ready(signal) = fx.outbox.poll_signal(cx) {
            return Poll::Ready(Event::Signal(signal));
        }
        let (config, in_flight) = (&fx.worker.config, fx.in_flight());
        let occupied = self.state.is_occupied(config, in_flight);
        fx.handle.set_waiting(occupied, self.state.is_deciding());
        match self.state.appetite(config, in_flight, fx.blocked) {
            Appetite::Nothing => Poll::Pending,
            Appetite::Pings => self.socket.poll_ahead(cx).map(|read| match read {
                Ok(message) => Event::Frame(message),
                Err(error) => Event::ReadFailed(error.into()),
            }),
            Appetite::Messages => self.socket.poll_next(cx).map(|read| match read {
                Ok(Some(message)) => Event::Frame(message),
                Ok(None) => Event::Ended,
                Err(error) => Event::ReadFailed(error),
            }),
        }
    }

    /// Encodes and writes all that is queued, as far as the socket takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unwritten = 0;
        let fx = &mut self.fx;
        let mut queue = Queue {
            outbox: &fx.outbox,
            codec: &fx.codec,
            traffic: &fx.worker.traffic,
            confirmations: &mut self.confirmations,
            heartbeat: std::mem::take(&mut self.wants_heartbeat),
            is_behind: false,
        };
        let written = self.socket.poll_write(cx, &mut queue);
        self.wants_heartbeat = queue.heartbeat;
        fx.blocked = written.is_pending();
        written
    }

    fn on_event(&mut self, event: Event) -> Result<(), Ended> {
        let (state, fx) = (&mut self.state, &mut self.fx);
        match event {
            Event::Frame(frame) => self.on_frame(frame),
            Event::Replied(reply) => state.on_replied(reply, fx),
            Event::Decided(Decided::Login(verdict, expected)) => {
                let next = state.on_login_verified(verdict, fx);
                // From here on the registry answers other gateways.
                drop(expected);
                next
            }
            Event::Decided(Decided::Change(verdict)) => state.on_change_verified(verdict, fx),
            Event::Decided(Decided::Key(cipher)) => state.on_unwrapped(cipher, fx),
            Event::Flushed => state.on_flushed(fx),
            Event::Reviewed(verdict) => state.on_reviewed(verdict, SystemTime::now(), fx),
            Event::Signal(signal) => self.on_signal(signal),
            Event::Ended => Err(Ended::without_goodbye()),
            Event::ReadFailed(error) => Err(error.into()),
            Event::WriteFailed(error) => Err(Ended::Lost(error)),
        }
    }

    fn on_signal(&mut self, signal: Signal) -> Result<(), Ended> {
        let (state, fx) = (&mut self.state, &mut self.fx);
        match signal {
            Signal::Ping => self.wants_heartbeat = true,
            Signal::Rest => self.rest(),
            Signal::Expire => state.on_expired(SystemTime::now(), fx),
            Signal::Review => state.on_review_due(SystemTime::now(), fx),
            Signal::Close(close) => return state.on_close(close, fx),
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: Message) -> Result<(), Ended> {
        let fx = &mut self.fx;
        let message = match frame {
            Message::Binary(frame) => {
                fx.worker.traffic.received(frame.len());
                fx.codec.read(frame)
            }
            Message::Text(_) => fx.codec.read_text(),
            Message::Close(frame) => return Err(Ended::ByClient(frame)),
            Message::Pong(payload) => {
                self.confirmations.pong(&payload);
                return Ok(());
            }
            // The socket has noted the pong.
            Message::Ping(_) => return Ok(()),
        };
        let worker = Arc::clone(&fx.worker);
        self.state.on_message(message, &worker.config, fx)
    }

    /// Frees memory that the next call allocates again.
    fn rest(&mut self) {
        if self.fx.in_flight() > 0 {
            self.fx.handle.called();
            return;
        }
        self.fx.calls = None;
        self.state.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use tokio::net::TcpStream;

    use super::*;
    use crate::outbox::Outbox;
    use crate::registry::Presence;

    /// The sizes of an idle session's parts. A larger one costs memory for every
    /// client; a smaller one is to be noted here.
    #[test]
    fn idle_sessions_are_small() {
        let sizes = [
            ("Task", size_of::<Task<TcpStream>>(), 432),
            ("Socket", size_of::<Socket<TcpStream>>(), 144),
            ("Caller", size_of::<Caller>(), 96),
            ("Handle", size_of::<Handle>(), 16),
            ("Outbox", size_of::<Outbox>(), 120),
            ("Presence", size_of::<Presence>(), 160),
        ];
        let expected = sizes.map(|(name, _, expected)| (name, expected));
        assert_eq!(sizes.map(|(name, size, _)| (name, size)), expected);
    }
}
