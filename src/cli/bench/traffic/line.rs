//! A connection at work: one future, which reads, answers pings, and sends the
//! requests of the orders. It has no buffers of its own, but for leftovers.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::ReadBuf;

use super::desk::{Desk, Orders};
use super::slots::Slots;
use crate::client::raw::RawSession;
use crate::client::raw::frames::{self, Frame, Kind};
use crate::client::raw::message::{self, Incoming, ReqId};
use crate::client::{Closed, Transport};
use crate::proto::session::CommonResp;
use crate::protocol::seed::Cipher;

/// Bytes that are written at once, about.
const OUTPUT: usize = 1 << 20;
/// Capacity that a buffer may keep while it is empty.
const KEPT: usize = 256;

/// A connection. It ends on the order to close, or when the gateway hangs up.
pub(super) struct Line {
    desk: Arc<Mutex<Desk>>,
    /// Its number within the thread.
    number: usize,
    stream: Box<dyn Transport>,
    cipher: Option<Cipher>,
    slots: Slots,
    /// Requests of the current orders that it has sent, and those of them that
    /// are answered.
    sent: u64,
    answered: u64,
    /// A frame that has not come whole.
    partial: Vec<u8>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    is_over: Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Not,
    /// The requests that a schedule has left are counted, and not sent.
    Counted,
    /// The goodbye is written, or about to be.
    SaidGoodbye,
}

impl Line {
    pub(super) fn new(
        desk: &Arc<Mutex<Desk>>,
        number: usize,
        session: RawSession,
        in_flight: u16,
    ) -> Self {
        let RawSession { stream, cipher, received } = session;
        Self {
            desk: Arc::clone(desk),
            number,
            stream,
            cipher,
            slots: Slots::new(in_flight),
            sent: 0,
            answered: 0,
            partial: received,
            unsent: Vec::new(),
            is_over: Over::Not,
        }
    }

    /// Reads and writes all that can be read and written now. Ends with the
    /// goodbye.
    fn work(&mut self, desk: &mut Desk, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        loop {
            let read = self.read(desk, cx)?;
            let is_written = self.write(desk, cx)?;
            if is_written && self.is_over == Over::SaidGoodbye {
                return Poll::Ready(Ok(()));
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Reads once, and takes in the bytes.
    fn read(&mut self, desk: &mut Desk, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        let mut input = mem::take(&mut desk.input);
        let outcome = self.read_into(&mut input, desk, cx);
        desk.input = input;
        outcome
    }

    fn read_into(
        &mut self,
        input: &mut [u8],
        desk: &mut Desk,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Closed> {
        let mut buffer = ReadBuf::new(input);
        match Pin::new(&mut *self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(error)) => return Err(Closed::Lost(error.to_string())),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                return Err(Closed::Lost("the gateway hung up".to_owned()));
            }
            Poll::Ready(Ok(())) => {}
        }
        let come = buffer.filled_mut();
        if self.partial.is_empty() {
            let taken = self.take_in(come, desk)?;
            self.partial.extend_from_slice(come.get(taken..).unwrap_or_default());
        } else {
            self.partial.extend_from_slice(come);
            self.take_in_partial(desk)?;
        }
        Ok(Poll::Ready(()))
    }

    fn take_in_partial(&mut self, desk: &mut Desk) -> Result<(), Closed> {
        let mut partial = mem::take(&mut self.partial);
        let taken = self.take_in(&mut partial, desk)?;
        partial.drain(..taken);
        release(&mut partial);
        self.partial = partial;
        Ok(())
    }

    /// Takes in all whole frames. Returns how many bytes they have.
    fn take_in(&mut self, come: &mut [u8], desk: &mut Desk) -> Result<usize, Closed> {
        let (now, mut taken, mut answers) = (desk.now(), 0, 0);
        let garbled = |error: &dyn ToString| Closed::Garbled(error.to_string());
        while let Some(frame) = frames::read(come, taken).map_err(|error| garbled(&error))? {
            let Frame { kind, payload } = frame;
            taken = payload.end;
            let payload = come.get_mut(payload).unwrap_or_default();
            match kind {
                Kind::Binary => answers += u64::from(self.message(payload, now, desk)?),
                Kind::Ping => frames::put(&mut self.unsent, Kind::Pong, payload, rand::random()),
                Kind::Close => {
                    let (code, reason) = frames::close(payload);
                    return Err(Closed::ByGateway { code, reason });
                }
                Kind::Text | Kind::Pong => {}
            }
        }
        if answers > 0 {
            desk.came(answers);
        }
        Ok(taken)
    }

    /// Takes in a message. Returns whether it is an answer that was waited for.
    fn message(&mut self, frame: &mut [u8], now: u64, desk: &mut Desk) -> Result<bool, Closed> {
        let plain = match &self.cipher {
            Some(cipher) => cipher.open_in_place(frame).map_err(|_| Closed::Undecryptable)?,
            None => frame,
        };
        let read = message::read(plain);
        let read = read.map_err(|error| Closed::Garbled(format!("a frame that is {error}")))?;
        let Incoming::Answer { req_id, code, data } = read else { return Ok(false) };
        let Some(since) = ReqId::parse(req_id).and_then(|id| self.slots.settle(id)) else {
            desk.tally.unexpected += 1;
            return Ok(false);
        };
        if code != 0 && desk.tally.first_failure.is_none() {
            desk.tally.first_failure = Some((code, text_of(data)));
        }
        self.answered += 1;
        if matches!(desk.orders, Orders::Burst { each, .. } if each == self.answered) {
            desk.finish_burst();
        }
        desk.answer(since, now, code);
        Ok(true)
    }

    /// Writes leftovers, then the requests of the orders. Returns whether all of it is written.
    fn write(&mut self, desk: &mut Desk, cx: &mut Context<'_>) -> Result<bool, Closed> {
        loop {
            if !self.unsent.is_empty() {
                let mut unsent = mem::take(&mut self.unsent);
                let taken = self.send(&unsent, cx)?;
                unsent.drain(..taken);
                release(&mut unsent);
                self.unsent = unsent;
                if !self.unsent.is_empty() {
                    return Ok(false);
                }
            }
            let mut output = mem::take(&mut desk.output);
            output.clear();
            self.compose(&mut output, desk);
            let sent = self.send(&output, cx);
            if let Ok(taken) = sent {
                self.unsent.extend_from_slice(output.get(taken..).unwrap_or_default());
            }
            let is_all = output.is_empty();
            desk.output = output;
            sent?;
            if is_all || !self.unsent.is_empty() {
                return Ok(self.unsent.is_empty());
            }
        }
    }

    /// Gives bytes to the socket. Returns how many it took.
    fn send(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<usize, Closed> {
        let lost = |error: std::io::Error| Closed::Lost(error.to_string());
        let mut stream = Pin::new(&mut *self.stream);
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match stream.as_mut().poll_write(cx, rest).map_err(lost)? {
                Poll::Ready(0) => return Err(Closed::Lost("the socket takes nothing".to_owned())),
                Poll::Ready(count) => taken += count,
                Poll::Pending => break,
            }
        }
        // TLS may hold something back, and goes on with it when it is written again.
        let _flushed = stream.poll_flush(cx).map_err(lost)?;
        Ok(taken)
    }

    /// Appends the frames that are to be sent now.
    fn compose(&mut self, output: &mut Vec<u8>, desk: &mut Desk) {
        match &mut desk.orders {
            Orders::Rest | Orders::Loop { left: 0 } => {}
            Orders::Close => {
                if self.is_over != Over::SaidGoodbye {
                    self.is_over = Over::SaidGoodbye;
                    let normal = 1000u16.to_be_bytes();
                    frames::put(output, Kind::Close, &normal, rand::random());
                }
            }
            Orders::Burst { each, released, .. } => {
                let (each, is_released) = (*each, self.number < *released);
                while is_released && self.sent < each && output.len() < OUTPUT {
                    if !self.request(output, desk, None) {
                        break;
                    }
                }
            }
            Orders::Loop { .. } => {
                while let Orders::Loop { left: 1.. } = desk.orders
                    && output.len() < OUTPUT
                    && self.request(output, desk, None)
                {
                    if let Orders::Loop { left } = &mut desk.orders {
                        *left -= 1;
                    }
                }
            }
            Orders::Rate { schedule, is_over } => {
                let (schedule, is_over) = (*schedule, *is_over);
                let now = desk.now();
                if is_over {
                    self.count_unsent(desk, now);
                    return;
                }
                while let Some(due) = schedule.next_of(self.number, self.sent)
                    && due <= now
                    && output.len() < OUTPUT
                    && self.request(output, desk, Some(due))
                {
                    desk.settled += 1;
                }
            }
        }
    }

    /// Appends a request. Its latency counts from `due`, or from now. Returns
    /// whether there was a place for it.
    fn request(&mut self, output: &mut Vec<u8>, desk: &mut Desk, due: Option<u64>) -> bool {
        let Some(id) = self.slots.take(due.unwrap_or_else(|| desk.now())) else { return false };
        desk.template.put(output, id, self.cipher.as_ref());
        desk.in_flight += 1;
        self.sent += 1;
        true
    }

    /// Counts the requests that were due before `now` and are not sent.
    fn count_unsent(&mut self, desk: &mut Desk, now: u64) {
        let Orders::Rate { schedule, .. } = desk.orders else { return };
        if self.is_over == Over::Not {
            self.is_over = Over::Counted;
            while let Some(due) = schedule.next_of(self.number, self.sent).filter(|due| *due < now)
            {
                desk.tally.unsent(desk.window, due, now);
                self.sent += 1;
                desk.settled += 1;
            }
            desk.settled += self.abandoned(desk);
            self.sent = schedule.count_of(self.number);
        }
    }

    /// Requests of a schedule that this connection will never send.
    fn abandoned(&self, desk: &Desk) -> u64 {
        match desk.orders {
            Orders::Rate { schedule, .. } => {
                schedule.count_of(self.number).saturating_sub(self.sent)
            }
            _ => 0,
        }
    }
}

impl Future for Line {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.get_mut();
        let desk = Arc::clone(&line.desk);
        let mut desk = desk.lock();
        let mut begun = Ok(());
        if !desk.is_registered(line.number) {
            desk.register(line.number, cx.waker());
            begun = line.take_in_partial(&mut desk);
        }
        let why =
            match begun.map_or_else(|why| Poll::Ready(Err(why)), |()| line.work(&mut desk, cx)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => None,
                // This side was closing, and the gateway was quicker.
                Poll::Ready(Err(_)) if line.is_over == Over::SaidGoodbye => None,
                Poll::Ready(Err(why)) => Some(why.to_string()),
            };
        let is_in_burst = matches!(desk.orders, Orders::Burst { each, .. } if line.answered < each);
        let abandoned = line.abandoned(&desk);
        desk.leave(line.number, line.slots.in_flight(), abandoned, why);
        if is_in_burst {
            desk.finish_burst();
        }
        Poll::Ready(())
    }
}

/// The message of a `CommonResp`.
fn text_of(common_resp: &[u8]) -> String {
    CommonResp::decode(common_resp).ok().and_then(|common| common.msg).unwrap_or_default()
}

/// Gives memory back that an empty buffer does not need.
fn release(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}
