//! The session's task: one loop over everything that can happen to a session.
//!
//! Frames are read in order, calls are driven inside the task, and what is to
//! be written is gathered until nothing else is ready: then it goes out in one
//! write. So frames that arrive together are answered together.

mod outgoing;
mod steps;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::Worker;
use super::closing;
use super::confirmations::Confirmations;
use super::ended::Ended;
use super::handshake::{self, Deciding, Judged, Step};
use super::login::{self, Review};
use super::news;
use super::socket::{ReadError, Socket};
use super::sweeper::{Handle, Stage, Watch};
use crate::auth::Verdict;
use crate::call::{self, Arrival, Caller, Client, InFlight, LoginState, Refusal, Refused};
use crate::outbox::{Outbox, Reader, Rejected, Signal};
use crate::protocol::seed::Cipher;
use crate::protocol::{
    Close, Codec, Control, Description, Incoming, Outcome, Protocol, Reply, RequestHead, Unreadable,
};
use crate::registry::{Membership, SessionId};
use crate::trace::Place;
use crate::websocket::Message;
use outgoing::{Greeting, Queue, encode};

/// Frames in a row that are no requests, after which a session is closed.
const MAX_STRIKES: u8 = 8;
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
    // Nothing is moved or nested in here that an idle session would pay for.
    async move {
        let Err(ended) = task.serve().await;
        Box::pin(task.end(ended)).await;
        drop(held);
    }
}

/// What can happen to a session.
enum Event {
    Frame(Message),
    Finished(Reply),
    Decided(Step),
    Signal(Signal),
    /// All that was queued before the key changes has been written.
    Flushed(Box<Switch>),
    /// The login was judged again.
    Reviewed(Verdict),
    /// The client has ended the connection without a word.
    Ended,
    ReadFailed(ReadError),
    WriteFailed(io::Error),
}

struct Task<S> {
    socket: Socket<S>,
    worker: Arc<Worker>,
    handle: Arc<Handle>,
    _watch: Watch,
    outbox: Reader,
    id: SessionId,
    caller: Caller,
    codec: Codec,
    /// The session's place among those that pushes find, once it is logged in.
    membership: Option<Membership>,
    deciding: Option<Deciding>,
    /// Waits until all that was queued before it is written.
    switching: Option<Box<Switch>>,
    /// The login is being judged again; frames are read meanwhile.
    review: Option<Review>,
    keys: u8,
    refused_changes: u8,
    /// Made by the first call, and given back when there was none for a while.
    calls: Option<FuturesUnordered<InFlight>>,
    confirmations: Confirmations,
    strikes: u8,
    /// Events since it was last tried to write.
    unwritten: u8,
    /// The socket did not take all that it was given.
    blocked: bool,
    /// A ping is due that asks nothing but whether the client is there.
    wants_heartbeat: bool,
    /// Told to go as soon as the calls under way are answered.
    leaving: bool,
}

/// A setCxnParams that brings a key.
struct Switch {
    head: RequestHead,
    device: Box<Description>,
    cipher: Cipher,
    /// `Some`: the login was judged anew for it.
    judged: Option<Judged>,
}

enum Never {}

impl<S> Task<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn new(socket: Socket<S>, client: Client, protocol: Protocol, worker: Arc<Worker>) -> Self {
        let (outbox, reader) = Outbox::with_doorbell(worker.config.outbox, &worker.doorbell);
        let handle = Arc::new(Handle::new(outbox));
        let watch = worker.sweeper.watch(&handle, Instant::now());
        let id = SessionId::random();
        let ip = client.remote_ip;
        let caller = Caller::new(client, id.to_string());
        let codec = Codec::open(protocol, &worker.protocols, caller.session_id());
        tracing::debug!(session = caller.session_id(), %ip, "connected");
        Self {
            socket,
            id,
            caller,
            codec,
            membership: None,
            handle,
            _watch: watch,
            outbox: reader,
            deciding: None,
            switching: None,
            review: None,
            keys: 0,
            refused_changes: 0,
            calls: None,
            confirmations: Confirmations::default(),
            strikes: 0,
            unwritten: 0,
            blocked: false,
            wants_heartbeat: false,
            leaving: false,
            worker,
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
        let mut greeting = Greeting::new(self.codec.greeting(), &self.worker.traffic);
        let socket = &mut self.socket;
        Box::pin(async move { socket.write(&mut greeting).await.map_err(Ended::Lost) })
    }

    async fn end(&mut self, ended: Ended) {
        let (code, reason) = ended.told();
        self.worker.calls.metrics.sessions.close(code);
        self.handle.set_stage(Stage::Closing);
        if let Some(membership) = self.membership.take() {
            news::disconnected(&self.worker, &self.caller, membership.presence(), code, &reason);
            membership.leave(code, &reason);
        }
        self.outbox.seal();
        // Before the goodbye, which takes seconds with a client that does not
        // read: answers that nobody takes meanwhile would fill the windows of
        // the connections that all share.
        (self.calls, self.deciding, self.review) = (None, None, None);
        let session = self.caller.session_id();
        match ended {
            Ended::Closed(close) => {
                tracing::debug!(session, code = close.code(), reason = close.reason(), "closed");
                let (outbox, codec) = (&self.outbox, &self.codec);
                let traffic = &self.worker.traffic;
                let rest = std::iter::from_fn(|| outbox.take());
                let rest = rest.map(|item| encode(item, codec, traffic));
                let confirmations = &mut self.confirmations;
                closing::say_goodbye(&mut self.socket, &close, rest, confirmations).await;
            }
            Ended::ByClient(close) => {
                tracing::debug!(session, "closed by the client");
                closing::acknowledge(&mut self.socket, close).await;
            }
            Ended::Lost(error) => tracing::debug!(session, %error, "lost"),
        }
    }

    /// The next thing that happened. When nothing did: writes what is queued.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.unwritten += 1;
        if (self.unwritten >= MAX_UNWRITTEN || self.outbox.outbox().bytes() >= WRITE_FIRST)
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            return Poll::Ready(Event::WriteFailed(error));
        }
        let event = self.poll_sources(cx);
        if self.socket.stream().take_sign() {
            self.handle.heard();
        }
        if event.is_ready() {
            return event;
        }
        let was_open = self.is_open();
        match self.poll_write(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Event::WriteFailed(error)),
            Poll::Ready(Ok(())) => {
                if let Some(switch) = self.switching.take() {
                    return Poll::Ready(Event::Flushed(switch));
                }
                if !was_open && self.is_open() {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending => {}
        }
        Poll::Pending
    }

    fn poll_sources(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(calls) = &mut self.calls
            && let Poll::Ready(Some(finished)) = calls.poll_next_unpin(cx)
        {
            return Poll::Ready(Event::Finished(finished));
        }
        if let Some(deciding) = &mut self.deciding
            && let Poll::Ready(step) = deciding.poll_unpin(cx)
        {
            self.deciding = None;
            return Poll::Ready(Event::Decided(step));
        }
        if let Some(review) = &mut self.review
            && let Poll::Ready(verdict) = review.poll_unpin(cx)
        {
            self.review = None;
            return Poll::Ready(Event::Reviewed(verdict));
        }
        if let Poll::Ready(signal) = self.outbox.poll_signal(cx) {
            return Poll::Ready(Event::Signal(signal));
        }
        self.handle.set_waiting(self.is_occupied(), self.deciding.is_some());
        if !self.is_open() {
            return Poll::Pending;
        }
        if self.is_occupied() {
            return self.socket.poll_ahead(cx).map(|read| match read {
                Ok(message) => Event::Frame(message),
                Err(error) => Event::ReadFailed(error.into()),
            });
        }
        self.socket.poll_next(cx).map(|read| match read {
            Ok(Some(message)) => Event::Frame(message),
            Ok(None) => Event::Ended,
            Err(error) => Event::ReadFailed(error),
        })
    }

    /// Whether the socket is read. From a client that does not read, nothing is
    /// read either: every frame, a ping too, wants an answer.
    fn is_open(&self) -> bool {
        !self.blocked && self.switching.is_none()
    }

    /// Whether the session waits for something that ends by itself, whatever
    /// the client does. Meanwhile it takes no message: a little is read ahead, so
    /// that pings are answered, the rest stays in the socket, and the client feels
    /// it: nothing is lost. (That the client reads does not: one that has stopped
    /// must be found out by its silence.)
    fn is_occupied(&self) -> bool {
        self.leaving
            || self.deciding.is_some()
            || self.in_flight() >= self.worker.config.max_in_flight
    }

    /// Calls under way.
    fn in_flight(&self) -> usize {
        self.calls.as_ref().map_or(0, FuturesUnordered::len)
    }

    /// Gives back what the next call makes again.
    fn rest(&mut self) {
        if self.in_flight() > 0 {
            self.handle.called();
            return;
        }
        self.calls = None;
        self.caller.rest();
    }

    /// Seals and writes all that is queued, as far as the socket takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unwritten = 0;
        let mut queue = Queue {
            outbox: &self.outbox,
            codec: &self.codec,
            traffic: &self.worker.traffic,
            confirmations: &mut self.confirmations,
            heartbeat: std::mem::take(&mut self.wants_heartbeat),
            is_behind: false,
        };
        let written = self.socket.poll_write(cx, &mut queue);
        self.wants_heartbeat = queue.heartbeat;
        self.blocked = written.is_pending();
        written
    }

    fn on_event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Frame(frame) => self.on_frame(frame),
            Event::Finished(reply) => {
                self.put(reply);
                self.leave_if_done()
            }
            Event::Decided(step) => {
                self.on_step(step)?;
                self.leave_if_done()
            }
            Event::Signal(Signal::Ping) => {
                self.wants_heartbeat = true;
                Ok(())
            }
            Event::Signal(Signal::Rest) => {
                self.rest();
                Ok(())
            }
            Event::Signal(Signal::Expire) => {
                self.on_expired();
                Ok(())
            }
            Event::Signal(Signal::Review) => {
                // One that is still under way does for this one as well.
                if self.review.is_none() && self.caller.login() == LoginState::Valid {
                    self.review = login::review(&self.worker, &self.caller);
                }
                Ok(())
            }
            Event::Reviewed(verdict) => self.on_reviewed(verdict),
            Event::Signal(Signal::Close(close)) if close.waits_for_calls() => {
                self.leaving = true;
                self.leave_if_done()
            }
            Event::Signal(Signal::Close(close)) => Err(Ended::Closed(close)),
            Event::Flushed(switch) => {
                let Switch { head, device, cipher, judged } = *switch;
                self.codec.switch(cipher);
                self.described(*device, judged);
                // The first frame under the new key: a push may have come meanwhile.
                let reply = Reply { head, outcome: Outcome::EMPTY };
                self.log_dropped(self.outbox.reply_first(reply));
                self.leave_if_done()
            }
            Event::Ended => Err(Ended::without_goodbye()),
            Event::ReadFailed(error) => Err(error.into()),
            Event::WriteFailed(error) => Err(Ended::Lost(error)),
        }
    }

    fn leave_if_done(&self) -> Result<(), Ended> {
        let deciding = self.deciding.is_some() || self.switching.is_some();
        if self.leaving && self.in_flight() == 0 && !deciding {
            // Unless there is another order by now.
            return Err(Ended::Closed(self.outbox.outbox().close(Close::GoingAway)));
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: Message) -> Result<(), Ended> {
        let read = match frame {
            Message::Binary(frame) => {
                self.worker.traffic.received(frame.len());
                self.codec.read(frame)
            }
            Message::Text => self.codec.read_text(),
            Message::Close(frame) => return Err(Ended::ByClient(frame)),
            Message::Pong(payload) => {
                self.confirmations.pong(&payload);
                return Ok(());
            }
            // The socket has noted the pong.
            Message::Ping(_) => return Ok(()),
        };
        match read {
            Ok(incoming) => {
                self.strikes = 0;
                self.on_incoming(incoming);
                Ok(())
            }
            Err(Unreadable::Strike) => self.strike(),
            Err(Unreadable::Fatal(close)) => Err(close.into()),
        }
    }

    fn strike(&mut self) -> Result<(), Ended> {
        self.strikes += 1;
        let refused = Refused::new(Refusal::NoRequest, "a frame that is no RequestBody");
        self.refuse(RequestHead::default(), refused);
        if self.strikes >= MAX_STRIKES {
            return Err(Ended::Closed(Close::ProtocolError));
        }
        Ok(())
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Call(request) => {
                let tracing = self.worker.calls.tracing.as_deref();
                let place = Place::new(tracing, self.caller.trace_parent());
                let arrival = Arrival { place, encrypted: self.codec.is_encrypted() };
                let (context, targets) = (&self.worker.calls, &self.worker.services.load().calls);
                match call::begin(context, targets, &mut self.caller, &request, arrival) {
                    Ok(call) => {
                        self.calls.get_or_insert_default().push(call);
                        self.handle.called();
                    }
                    Err(refused) => self.refuse(RequestHead::of(&request), refused),
                }
            }
            Incoming::Control(head, control) => self.on_control(head, control),
        }
    }

    fn on_control(&mut self, head: RequestHead, control: Control) {
        let (worker, caller) = (&self.worker, &self.caller);
        let begun = match control {
            Control::Describe(device) => {
                let encrypted = self.codec.is_encrypted();
                handshake::describe(head, device, worker, caller, encrypted)
            }
            Control::LogIn(credentials) => login::log_in(head, *credentials, worker, caller),
            Control::KeepAlive => return self.reply(head, Outcome::EMPTY),
            Control::Malformed(text) => Err((head, Refused::malformed(text))),
        };
        match begun {
            Ok(deciding) => self.deciding = Some(deciding),
            Err((head, refused)) => self.refuse(head, refused),
        }
    }

    fn refuse(&mut self, head: RequestHead, refused: Refused) {
        let metrics = &self.worker.calls.metrics;
        let failure = refused.settle(metrics, self.caller.session_id(), &head);
        self.reply(head, failure.into());
    }

    fn reply(&self, head: RequestHead, outcome: Outcome) {
        self.put(Reply { head, outcome });
    }

    fn put(&self, mut reply: Reply) {
        if self.blocked {
            // It may wait for long: what it shares with other messages is set free.
            reply.detach();
        }
        self.log_dropped(self.outbox.reply(reply));
    }

    /// An overflow comes back as the signal to close: nothing else is left to do.
    fn log_dropped(&self, put: Result<(), Rejected>) {
        if let Err(rejected) = put {
            tracing::debug!(session = self.caller.session_id(), %rejected, "answer dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use tokio::net::TcpStream;

    use super::*;
    use crate::outbox::Outbox;
    use crate::registry::Presence;

    /// What an idle session is made of. Whoever makes one of these larger pays
    /// for it with every client; whoever makes one smaller, writes it down.
    #[test]
    fn idle_sessions_are_small() {
        let sizes = [
            ("Task", size_of::<Task<TcpStream>>(), 416),
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
