//! The clients of a run: their gateway and their users.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::http::Uri;

use crate::cli::call::explain;
use crate::cli::descriptors;
use crate::cli::failure::Failure;
use crate::cli::files::{file, unusable};
use crate::client::raw::{self, RawSession, Refused};
use crate::client::{Options, Session, Tls};
use crate::protocol::seed::PublicKey;

/// Clients that one source address serves. It has some 28,000 ports, but those
/// of an earlier run are not free for a minute.
const PER_SOURCE: usize = 1_000;

/// What all clients have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients")]
pub(super) struct ClientArgs {
    /// The gateway's URL.
    #[arg(long, env = "BRIDGEHEAD_URL", default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// The prefix of the users' names.
    #[arg(long, value_name = "PREFIX", default_value = "bench-")]
    user_prefix: String,
    /// The token that they all log in with.
    #[arg(
        long,
        env = "BRIDGEHEAD_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    token: String,
    /// Encrypt the sessions, with the gateway's public key.
    #[arg(long, value_name = "PUBLIC_KEY.pem")]
    encrypt: Option<PathBuf>,
    /// Accept any certificate (wss): for tests only.
    #[arg(long)]
    insecure: bool,
}

/// So many clients, each a user of its own on a device of its own.
#[derive(Debug)]
pub(super) struct Clients {
    options: Options,
    users: Users,
    token: String,
}

/// The users' names.
#[derive(Debug, Clone)]
pub(super) struct Users {
    prefix: String,
    count: usize,
}

impl ClientArgs {
    /// Reads files, and raises the limit of open sockets where it is too low.
    pub(super) fn clients(self, count: u32, timeout: Duration) -> Result<Clients, Failure> {
        descriptors::allow(count.into())?;
        let mut options = Options::new(self.url);
        options.timeout = timeout;
        if let Some(path) = &self.encrypt {
            let key = PublicKey::from_pem(file(path)?).map_err(|error| unusable(path, &error))?;
            options.encrypt = Some(Arc::new(key));
        }
        // Made once for all; without resumption, so that each is like a new client.
        let tls = if self.insecure { Tls::insecure() } else { Tls::public() };
        options.tls = Some(tls.map_err(Failure::failed)?.without_resumption());
        let users = Users { prefix: self.user_prefix, count: count as usize };
        Ok(Clients { options, users, token: self.token })
    }
}

impl Clients {
    pub(super) fn users(&self) -> &Users {
        &self.users
    }

    pub(super) fn count(&self) -> usize {
        self.users.count
    }

    pub(super) fn are_encrypted(&self) -> bool {
        self.options.encrypt.is_some()
    }

    /// Opens a session of the ordinary client.
    pub(super) async fn connect(&self, nth: usize) -> Result<Session, Failure> {
        let opened = Session::connect(self.options(nth)).await;
        opened.map_err(|error| explain::connecting(error).of(&of_session(nth)))
    }

    /// Logs in.
    pub(super) async fn log_in(&self, nth: usize, session: &Session) -> Result<(), Failure> {
        let outcome = session.login(&self.users.name(nth), &self.token).await;
        outcome.map_err(|error| explain::login(&error).of(&of_session(nth)))
    }

    /// Opens a session that costs little, logged in.
    pub(super) async fn open(&self, nth: usize) -> Result<RawSession, Failure> {
        let opened = raw::open(&self.options(nth), &self.users.name(nth), &self.token).await;
        opened.map_err(|refused| {
            let failure = match refused {
                Refused::Connect(error) => explain::connecting(error),
                Refused::Login(error) => explain::login(&error),
            };
            failure.of(&of_session(nth))
        })
    }

    fn options(&self, nth: usize) -> Options {
        let mut options = self.options.clone();
        options.source = source(&options.url, self.users.count, nth);
        if let Some(device) = &mut options.device {
            device.device_id = format!("{}-{nth}", device.device_id);
        }
        options
    }
}

fn of_session(nth: usize) -> String {
    format!("session {nth}")
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
        assert_eq!(from(url, 1_000, 999), None);
        assert_eq!(from(url, 50_000, 999).as_deref(), Some("127.0.0.1"));
        assert_eq!(from(url, 50_000, 2_000).as_deref(), Some("127.0.0.3"));
        assert_eq!(from(url, 1_000_000, 999_999).as_deref(), Some("127.0.3.232"));
        assert_eq!(from("ws://localhost/ws", 50_000, 1_000).as_deref(), Some("127.0.0.2"));
        assert_eq!(from("ws://10.0.0.1:8080/ws", 50_000, 40_000), None);
        assert_eq!(from("wss://example.com/ws", 50_000, 40_000), None);
    }
}
