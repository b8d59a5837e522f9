//! Very many sessions at once that get pushes.
//!
//! Each is a session of the ordinary client: a task, two small channels and
//! the buffers of its WebSocket, some 12 KiB of memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::arrivals::Arrivals;
use super::clients::{ClientArgs, Clients, Users};
use crate::cli::failure::Failure;
use crate::client::{CallError, Session};
use crate::protocol::seed::methods::KEEP_ALIVE;

/// Sessions that are being opened at the same time.
const OPENING: usize = 64;

/// The sessions to open.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sessions")]
pub(super) struct CrowdArgs {
    /// The number of sessions, each with a user of its own.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// The number of sessions that do not read their sockets.
    ///
    /// They are reported separately.
    #[arg(long, value_name = "K", default_value_t = 0)]
    stalled: u32,
    #[command(flatten)]
    clients: ClientArgs,
}

/// The means to open the sessions.
#[derive(Debug)]
pub(super) struct Plan {
    clients: Clients,
    readers: usize,
}

/// Open sessions. The readers come first, then the stalled ones.
pub(super) struct Crowd {
    sessions: Vec<Session>,
    readers: usize,
    /// How long it took to open them.
    pub(super) opened_in: Duration,
}

impl CrowdArgs {
    /// Reads files, and raises the limit of open sockets where it is too low.
    pub(super) fn plan(self, timeout: Duration) -> Result<Plan, Failure> {
        let Some(readers) = self.sessions.checked_sub(self.stalled).filter(|readers| *readers > 0)
        else {
            return Err(Failure::usage("--stalled must be less than --sessions"));
        };
        let clients = self.clients.clients(self.sessions, timeout)?;
        Ok(Plan { clients, readers: readers as usize })
    }
}

impl Plan {
    pub(super) fn users(&self) -> &Users {
        self.clients.users()
    }

    pub(super) fn sessions(&self) -> usize {
        self.clients.count()
    }

    /// Sessions that read their sockets: the first ones.
    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.clients.are_encrypted()
    }

    /// Opens the sessions and logs them in. Their pushes go to `arrivals` from then on.
    pub(super) async fn open(
        self,
        arrivals: &Arc<Arrivals>,
        bar: &ProgressBar,
    ) -> Result<Crowd, Failure> {
        let started = Instant::now();
        let this = &self;
        let opening = stream::iter(0..self.sessions()).map(|nth| async move {
            let session = this.clients.connect(nth).await?;
            let arrivals = Arc::clone(arrivals);
            session.on_push(move |push| arrivals.note(nth, &push));
            this.clients.log_in(nth, &session).await?;
            if nth >= this.readers {
                session.stop_reading().await;
            }
            bar.inc(1);
            Ok::<_, Failure>(session)
        });
        let sessions = opening.buffered(OPENING).try_collect().await?;
        Ok(Crowd { sessions, readers: self.readers, opened_in: started.elapsed() })
    }
}

impl Crowd {
    /// Makes a call on every session that reads. Its answer comes behind all
    /// earlier pushes, so that no push is under way after that. Returns the errors
    /// of the calls.
    pub(super) async fn settle(&self) -> Vec<CallError> {
        let readers = self.sessions.iter().take(self.readers);
        let calls = readers.map(|session| session.call(KEEP_ALIVE, bytes::Bytes::new()));
        let answers = stream::iter(calls).buffer_unordered(OPENING);
        answers.filter_map(|answer| async { answer.err() }).collect().await
    }

    /// Says goodbye on every session.
    pub(super) async fn close(self) {
        let closing = stream::iter(self.sessions).map(Session::close);
        closing.for_each_concurrent(OPENING, |ended| async { drop(ended.await) }).await;
    }
}
