//! Very many sessions at once.
//!
//! Each is a session of the ordinary client: a task, two small channels and
//! the buffers of its WebSocket, some 12 KiB of memory.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::http::Uri;
use indicatif::ProgressBar;

use super::arrivals::Arrivals;
use crate::cli::call::explain;
use crate::cli::descriptors;
use crate::cli::failure::Failure;
use crate::cli::files::{file, unusable};
use crate::client::{CallError, Options, Session, Tls};
use crate::envelope::PublicKey;

/// Sessions that are being opened at the same time.
const OPENING: usize = 64;
/// Sessions that one source address serves: an address has some 28,000 ports.
const PER_SOURCE: usize = 20_000;
/// Is answered by the gateway itself.
const KEEP_ALIVE: &str = "/v1/conn/keepAlive";

/// The sessions to open.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sessions")]
pub(super) struct CrowdArgs {
    /// Where the gateway is.
    #[arg(long, env = "BRIDGEHEAD_URL", default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// How many, each with a user of its own: bench-0, bench-1, …
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// What the users are called, before their number.
    #[arg(long, value_name = "PREFIX", default_value = "bench-")]
    user_prefix: String,
    /// The token that they all log in with.
    #[arg(long, env = "BRIDGEHEAD_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// Encrypt the sessions, with the gateway's public key.
    #[arg(long, value_name = "PUBLIC_KEY.pem")]
    encrypt: Option<PathBuf>,
    /// Believe any certificate (wss).
    #[arg(long)]
    insecure: bool,
    /// So many of the sessions do not read their sockets. They are reported
    /// apart.
    #[arg(long, value_name = "K", default_value_t = 0)]
    stalled: u32,
}

/// What is needed to open the sessions.
#[derive(Debug)]
pub(super) struct Plan {
    options: Options,
    users: Users,
    token: String,
    sessions: usize,
    readers: usize,
}

/// The users' names.
#[derive(Debug, Clone)]
pub(super) struct Users {
    prefix: String,
    count: usize,
}

/// Open sessions. Those that read come first, then the stalled ones.
pub(super) struct Crowd {
    sessions: Vec<Session>,
    readers: usize,
    /// How long it took to open them.
    pub(super) opened_in: Duration,
}

impl CrowdArgs {
    /// Reads files, and raises the limit of open sockets where it is too low.
    pub(super) fn plan(self) -> Result<Plan, Failure> {
        let (sessions, stalled) = (self.sessions as usize, self.stalled as usize);
        let Some(readers) = sessions.checked_sub(stalled).filter(|readers| *readers > 0) else {
            return Err(Failure::usage("--stalled must be less than --sessions"));
        };
        descriptors::allow(self.sessions.into())?;
        let mut options = Options::new(self.url);
        if let Some(path) = &self.encrypt {
            let key = PublicKey::from_pem(file(path)?).map_err(|error| unusable(path, &error))?;
            options.encrypt = Some(Arc::new(key));
        }
        if self.insecure {
            options.tls = Some(Tls::insecure().map_err(Failure::failed)?);
        }
        let users = Users { prefix: self.user_prefix, count: sessions };
        Ok(Plan { options, users, token: self.token, sessions, readers })
    }
}

impl Users {
    #[cfg(test)]
    pub(super) fn numbered(prefix: &str, count: usize) -> Self {
        Self { prefix: prefix.to_owned(), count }
    }

    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|nth| self.name(nth))
    }

    /// The user's number, if it is one of these.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let digits = name.strip_prefix(&self.prefix)?;
        let number = digits.parse().ok().filter(|number| *number < self.count)?;
        (self.name(number) == name).then_some(number)
    }

    fn name(&self, nth: usize) -> String {
        format!("{}{nth}", self.prefix)
    }
}

impl Plan {
    pub(super) fn users(&self) -> &Users {
        &self.users
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Sessions that read their sockets: the first ones.
    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.options.encrypt.is_some()
    }

    /// Opens the sessions and logs them in. What is pushed to them goes to
    /// `arrivals` from then on.
    pub(super) async fn open(
        self,
        timeout: Duration,
        arrivals: &Arc<Arrivals>,
        bar: &ProgressBar,
    ) -> Result<Crowd, Failure> {
        let started = Instant::now();
        let this = &self;
        let opening = stream::iter(0..self.sessions).map(|nth| async move {
            let session = this.session(nth, timeout).await?;
            let arrivals = Arc::clone(arrivals);
            session.on_push(move |push| arrivals.note(nth, &push));
            this.log_in(nth, &session).await?;
            if nth >= this.readers {
                session.stop_reading().await;
            }
            bar.inc(1);
            Ok::<_, Failure>(session)
        });
        let sessions = opening.buffered(OPENING).try_collect().await?;
        Ok(Crowd { sessions, readers: self.readers, opened_in: started.elapsed() })
    }

    async fn session(&self, nth: usize, timeout: Duration) -> Result<Session, Failure> {
        let mut options = Options { timeout, ..self.options.clone() };
        options.source = source(&options.url, self.sessions, nth);
        if let Some(device) = &mut options.device {
            device.device_id = format!("{}-{nth}", device.device_id);
        }
        Session::connect(options)
            .await
            .map_err(|error| explain::connecting(error).of(&format!("session {nth}")))
    }

    async fn log_in(&self, nth: usize, session: &Session) -> Result<(), Failure> {
        let outcome = session.login(&self.users.name(nth), &self.token).await;
        outcome.map_err(|error| explain::login(&error).of(&format!("session {nth}")))
    }
}

impl Crowd {
    /// Makes a call on every session that reads. Its answer comes behind all
    /// that was pushed before, so that nothing is under way after that. Returns
    /// why the calls failed that did.
    pub(super) async fn settle(&self) -> Vec<CallError> {
        let readers = self.sessions.iter().take(self.readers);
        let calls = readers.map(|session| session.call(KEEP_ALIVE, bytes::Bytes::new()));
        let answers = stream::iter(calls).buffer_unordered(OPENING);
        answers.filter_map(|answer| async { answer.err() }).collect().await
    }
}

impl Crowd {
    /// Says goodbye on every session.
    pub(super) async fn close(self) {
        let closing = stream::iter(self.sessions).map(Session::close);
        closing.for_each_concurrent(OPENING, |ended| async { drop(ended.await) }).await;
    }
}

/// The address to connect from, where one has too few ports for all sessions.
fn source(url: &str, sessions: usize, nth: usize) -> Option<IpAddr> {
    let uri: Uri = url.parse().ok()?;
    let host = match uri.host()? {
        "localhost" => Ipv4Addr::LOCALHOST,
        host => host.parse().ok()?,
    };
    if sessions <= PER_SOURCE || !host.is_loopback() {
        return None;
    }
    // All of 127.0.0.0/8 is this machine.
    let nth = u32::try_from(nth / PER_SOURCE).ok()?;
    Some(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + nth).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbered() {
        let users = Users::numbered("bench-", 11);
        assert_eq!(users.names().nth(10).as_deref(), Some("bench-10"));
        assert_eq!(users.number("bench-10"), Some(10));
        for other in ["bench-11", "bench-", "bench-01", "bench-+1", "alice", "ench-1"] {
            assert_eq!(users.number(other), None, "{other}");
        }
    }

    #[test]
    fn many_sessions_on_this_machine_come_from_several_addresses() {
        let from = |url, sessions, nth| source(url, sessions, nth).map(|ip| ip.to_string());
        let url = "ws://127.0.0.1:8080/ws";
        assert_eq!(from(url, 20_000, 19_999), None);
        assert_eq!(from(url, 50_000, 19_999).as_deref(), Some("127.0.0.1"));
        assert_eq!(from(url, 50_000, 40_000).as_deref(), Some("127.0.0.3"));
        assert_eq!(from("ws://localhost/ws", 50_000, 20_000).as_deref(), Some("127.0.0.2"));
        assert_eq!(from("ws://10.0.0.1:8080/ws", 50_000, 40_000), None);
        assert_eq!(from("wss://example.com/ws", 50_000, 40_000), None);
    }
}
