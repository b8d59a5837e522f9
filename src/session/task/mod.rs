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

use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::closing;
use super::confirmations::Confirmations;
use super::ended::Ended;
use super::handshake::{
    self, Asked, Deciding, Judged, KEEP_ALIVE, SET_CXN_PARAMS, SET_USER_PARAMS, Step,
};
use super::identity::{Identity, Login};
use super::login::{self, Review};
use super::news;
use super::request::{self, Answer, Failure, Finished, InFlight, Refusal};
use super::socket::{ReadError, Socket};
use super::sweeper::{Handle, Stage, Watch};
use super::{Client, Worker};
use crate::auth::Verdict;
use crate::envelope::cipher::Cipher;
use crate::envelope::codec::{self, Request, Text};
use crate::envelope::{Close, Code};
use crate::outbox::{Outbox, Reader, Rejected, Signal};
use crate::proto::session::SetCxnParamsReq;
use crate::registry::Membership;
use crate::routing::identity::Member;
use crate::trace::Place;
use crate::websocket::Message;
use outgoing::{Greeting, Queue, seal};

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
    worker: Arc<Worker>,
    held: impl Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut task = Task::new(socket, client, worker);
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
    Finished(Finished),
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

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Task<S> {
    socket: Socket<S>,
    worker: Arc<Worker>,
    handle: Arc<Handle>,
    _watch: Watch,
    outbox: Reader,
    identity: Identity,
    /// The session's place among those that pushes find, once it is logged in.
    membership: Option<Membership>,
    cipher: Option<Cipher>,
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
    /// The gateway chooses the IV of its encryption.
    server_iv: bool,
    /// Told to go as soon as the calls under way are answered.
    leaving: bool,
}

/// A setCxnParams that brings a key.
struct Switch {
    asked: Asked,
    params: Box<SetCxnParamsReq>,
    cipher: Cipher,
    /// `Some`: the login was judged anew for it.
    judged: Option<Judged>,
}

enum Never {}

impl<S> Task<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn new(socket: Socket<S>, client: Client, worker: Arc<Worker>) -> Self {
        let (outbox, reader) = Outbox::with_doorbell(worker.config.outbox, &worker.doorbell);
        let handle = Arc::new(Handle::new(outbox));
        let watch = worker.sweeper.watch(&handle, Instant::now());
        let (ip, server_iv) = (client.remote_ip, client.server_iv);
        let identity = Identity::new(client);
        tracing::debug!(session = identity.session_id(), %ip, "connected");
        Self {
            socket,
            identity,
            membership: None,
            handle,
            _watch: watch,
            outbox: reader,
            cipher: None,
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
            server_iv,
            leaving: false,
            worker,
        }
    }

    async fn serve(&mut self) -> Result<Never, Ended> {
        self.socket.write(&mut Greeting(true)).await.map_err(Ended::Lost)?;
        if self.server_iv {
            self.put(self.worker.server_ivs.announcement(self.identity.session_id()));
        }
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            self.on_event(event)?;
            // A client that never lets its session rest shares the worker with others.
            consume_budget().await;
        }
    }

    async fn end(&mut self, ended: Ended) {
        let (code, reason) = ended.told();
        self.worker.metrics.sessions.close(code);
        self.handle.set_stage(Stage::Closing);
        if let Some(membership) = self.membership.take() {
            news::disconnected(&self.worker, &self.identity, membership.presence(), code, &reason);
            membership.leave(code, &reason);
        }
        self.outbox.seal();
        // Before the goodbye, which takes seconds with a client that does not
        // read: answers that nobody takes meanwhile would fill the windows of
        // the connections that all share.
        (self.calls, self.deciding, self.review) = (None, None, None);
        let session = self.identity.session_id();
        match ended {
            Ended::Closed(close) => {
                self.log_closed(&close);
                let (outbox, cipher) = (&self.outbox, self.cipher.as_ref());
                let traffic = &self.worker.traffic;
                let rest = std::iter::from_fn(|| outbox.take());
                let rest = rest.map(|frame| seal(frame, cipher, traffic));
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

    /// A user who does not keep up loses pushes, which somebody may ask about.
    fn log_closed(&self, close: &Close) {
        let (session, code, reason) = (self.identity.session_id(), close.code(), close.reason());
        if *close == Close::TooSlow && self.identity.has_user() {
            let user = self.identity.value(Member::UserId);
            tracing::info!(session, user, code, reason, "closed");
        } else {
            tracing::debug!(session, code, reason, "closed");
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
        self.identity.rest();
    }

    /// Seals and writes all that is queued, as far as the socket takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unwritten = 0;
        let mut queue = Queue {
            outbox: &self.outbox,
            cipher: self.cipher.as_ref(),
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
            Event::Finished(Finished { asked, answer }) => {
                self.answer(&asked, &answer);
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
                if self.review.is_none() && self.identity.login() == Login::Valid {
                    self.review = login::review(&self.worker, &self.identity);
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
                let Switch { asked, params, cipher, judged } = *switch;
                self.cipher = Some(cipher);
                self.described(*params, judged);
                // The first frame under the new key: a push may have come meanwhile.
                let answer = codec::answer(&asked.req_id, &asked.method, Code::SUCCESS, &[]);
                self.log_dropped(self.outbox.answer_first(answer));
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
        let frame = match frame {
            Message::Binary(frame) => frame,
            // Text is no request, whatever it says.
            Message::Text(_) if self.cipher.is_none() => return self.strike(),
            Message::Text(_) => return Err(Ended::Closed(Close::ProtocolError)),
            Message::Close(frame) => return Err(Ended::ByClient(frame)),
            Message::Pong(payload) => {
                self.confirmations.pong(&payload);
                return Ok(());
            }
            // The socket has noted the pong.
            Message::Ping(_) => return Ok(()),
        };
        self.worker.traffic.received(frame.len());
        let place = Place::new(self.worker.tracing.as_deref(), self.identity.trace_parent());
        match self.open(frame)? {
            Some(request) => {
                self.strikes = 0;
                self.on_request(&request, place);
                Ok(())
            }
            None => self.strike(),
        }
    }

    /// Decrypts and decodes a frame. `None`: it is no request. Under a key
    /// that ends the session just as a frame that cannot be decrypted does;
    /// telling the two apart would be a padding oracle.
    fn open(&self, frame: Bytes) -> Result<Option<Request>, Close> {
        match self.cipher.as_ref() {
            None => Ok(codec::open(&frame).ok()),
            Some(cipher) => {
                let plain = cipher.open(frame).map_err(|_| Close::ProtocolError)?;
                codec::open(&plain).map(Some).map_err(|_| Close::ProtocolError)
            }
        }
    }

    fn strike(&mut self) -> Result<(), Ended> {
        self.strikes += 1;
        let failure = Failure::refused(Refusal::NoRequest, "a frame that is no RequestBody");
        failure.count(&self.worker.metrics);
        let asked = Asked { req_id: Text::from(""), method: Text::from("") };
        failure.log(self.identity.session_id(), &asked, &self.worker.refusals);
        let failure = failure.into_answer();
        self.put(codec::answer("", "", failure.code, &failure.data));
        if self.strikes >= MAX_STRIKES {
            return Err(Ended::Closed(Close::ProtocolError));
        }
        Ok(())
    }

    fn on_request(&mut self, request: &Request, place: Place) {
        let asked = Asked::of(request);
        let encrypted = self.cipher.is_some();
        let begun = match &*request.method {
            SET_CXN_PARAMS => {
                let (worker, identity) = (&self.worker, &self.identity);
                let iv = self.server_iv.then(|| worker.server_ivs.iv(identity.session_id()));
                handshake::set_cxn_params(request, worker, identity, encrypted, iv)
                    .map(Begun::Deciding)
            }
            SET_USER_PARAMS => {
                login::set_user_params(request, &self.worker, &self.identity).map(Begun::Deciding)
            }
            KEEP_ALIVE => Ok(Begun::Answered(Answer::empty())),
            _ => request::begin(request, &mut self.identity, &self.worker, encrypted, place)
                .map(Begun::Call),
        };
        match begun {
            Ok(Begun::Deciding(deciding)) => self.deciding = Some(deciding),
            Ok(Begun::Call(call)) => {
                self.calls.get_or_insert_default().push(call);
                self.handle.called();
            }
            Ok(Begun::Answered(answer)) => self.answer(&asked, &answer),
            Err(failure) => {
                if *request.method == *SET_CXN_PARAMS
                    && let Some(why) = failure.refusal()
                {
                    self.identity.refuse_device(why);
                }
                failure.log(self.identity.session_id(), &asked, &self.worker.refusals);
                failure.count(&self.worker.metrics);
                self.answer(&asked, &failure.into_answer());
            }
        }
    }

    fn answer(&self, asked: &Asked, answer: &Answer) {
        self.put(codec::answer(&asked.req_id, &asked.method, answer.code, &answer.data));
    }

    fn put(&self, frame: BytesMut) {
        self.log_dropped(self.outbox.answer(frame));
    }

    /// An overflow comes back as the signal to close: nothing else is left to do.
    fn log_dropped(&self, put: Result<(), Rejected>) {
        if let Err(rejected) = put {
            tracing::debug!(session = self.identity.session_id(), %rejected, "answer dropped");
        }
    }
}

enum Begun {
    Deciding(Deciding),
    Call(InFlight),
    Answered(Answer),
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
            ("Task", size_of::<Task<TcpStream>>(), 400),
            ("Socket", size_of::<Socket<TcpStream>>(), 144),
            ("Identity", size_of::<Identity>(), 112),
            ("Handle", size_of::<Handle>(), 16),
            ("Outbox", size_of::<Outbox>(), 120),
            ("Presence", size_of::<Presence>(), 160),
        ];
        let expected = sizes.map(|(name, _, expected)| (name, expected));
        assert_eq!(sizes.map(|(name, size, _)| (name, size)), expected);
    }
}
