//! Watches over one connection: looks at it as long as calls wait, and sends the
//! PINGs. The consequences are decided in [`super::liveness`] and carried out in
//! [`super::reconnect`].

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::liveness::{LOOK, Liveness, Standing};
use super::pool::Pool;

/// One connection's watch.
pub(super) struct Monitor {
    connection: Arc<Connection>,
    pool: Weak<Pool>,
    liveness: Liveness,
    standing: Standing,
    pings: Option<PingPong>,
    /// Whether the peer answers PINGs.
    ponged: bool,
    /// Whether a PING is under way.
    asked: bool,
    /// How many calls had been answered at the last look.
    answers: u32,
    /// Other connections to the same endpoint that fall silent, of any worker.
    suspicions: watch::Receiver<()>,
}

impl Monitor {
    /// `pings` sends PINGs; `ponged`: the peer has answered the first one.
    pub(super) fn new(
        connection: Arc<Connection>,
        pool: Weak<Pool>,
        pings: Option<PingPong>,
        ponged: bool,
    ) -> Self {
        let suspicions = connection.endpoint().suspicions();
        Self {
            connection,
            pool,
            liveness: Liveness::new(Instant::now().into_std()),
            standing: Standing::Sound,
            pings,
            ponged,
            asked: !ponged,
            answers: 0,
            suspicions,
        }
    }

    /// Waits until the connection's standing changes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is missed.
    pub(super) async fn changed(&mut self) -> Standing {
        loop {
            let rest = self.look();
            if let Some(standing) = rest.changed {
                return standing;
            }
            let tick =
                async { if rest.rest { std::future::pending().await } else { sleep(LOOK).await } };
            let (pings, asked) = (&mut self.pings, self.asked);
            let pong = poll_fn(|context| match pings {
                Some(pings) if asked => pings.poll_pong(context).map(|pong| pong.is_ok()),
                _ => Poll::Pending,
            });
            tokio::select! {
                () = self.connection.stirred(rest.rest) => {}
                () = tick => {}
                pong = pong => self.answered(pong),
                // The endpoint, which `self` keeps, has the sender.
                _ = self.suspicions.changed() => self.connection.suspect(),
            }
        }
    }

    /// How long nothing has been received while a call waited.
    pub(super) fn quiet(&self) -> Duration {
        self.liveness.quiet()
    }

    fn look(&mut self) -> Looked {
        if self.asked
            && let Some(pings) = &mut self.pings
            && let Poll::Ready(pong) = pings.poll_pong(&mut Context::from_waker(Waker::noop()))
        {
            self.answered(pong.is_ok());
        }
        let can_ask = self.pings.is_some() && self.ponged && !self.asked;
        let signs = self.connection.signs(can_ask);
        self.report(signs.answers);
        let look = self.liveness.look(Instant::now().into_std(), signs);
        if look.ask
            && let Some(pings) = &mut self.pings
        {
            // Fails on a closed connection, which is reported elsewhere.
            self.asked = pings.send_ping(Ping::opaque()).is_ok();
        }
        let changed = (look.standing != self.standing).then_some(look.standing);
        self.standing = look.standing;
        Looked { changed, rest: look.rest }
    }

    /// The PING was answered, or the connection is closed, which is reported
    /// elsewhere.
    fn answered(&mut self, ponged: bool) {
        self.asked = false;
        self.ponged = true;
        if ponged {
            self.connection.endpoint().is_alive(Instant::now().into_std());
        }
    }

    /// Reports the evidence for and against the endpoint to the pool.
    fn report(&mut self, answers: u32) {
        let has_answered = answers != self.answers;
        if has_answered {
            self.connection.endpoint().seen_answering(Instant::now().into_std());
        }
        let overdue = self.connection.take_overdue();
        self.answers = answers;
        if (overdue > 0 || has_answered)
            && let Some(pool) = self.pool.upgrade()
        {
            if has_answered {
                pool.stirred(self.connection.endpoint());
            }
            if overdue > 0 {
                pool.timed_out(&self.connection, overdue);
            }
        }
    }
}

struct Looked {
    changed: Option<Standing>,
    rest: bool,
}
