//! Why there is no connection to NATS: the servers that were tried, and their
//! errors. `async-nats` reports a failed attempt without either, but keeps the
//! last error of each server, except for names that cannot be resolved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Server, ServerAddr};
use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use crate::pem;

/// The same problem is logged again after this time, another one after `NEWS`.
const EVERY: Duration = Duration::from_secs(60);
const NEWS: Duration = Duration::from_secs(5);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Servers named in a message: the servers of a cluster announce each other.
const MAX_NAMED: usize = 3;
/// Characters of an error: a server may have written it.
const MAX_TEXT: usize = 300;

/// The reasons for the lack of a connection.
pub(super) struct Trouble {
    /// The configured servers, without logins.
    servers: String,
    /// Passwords and tokens, which no message repeats.
    secrets: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failed attempts by server at the last look; `None`: there was none since
    /// the gateway was connected last.
    failed: Option<HashMap<String, usize>>,
    /// Why the last round of attempts has failed.
    problem: Option<String>,
    /// The last log message.
    said: Option<(Instant, String)>,
    /// Rounds since then that were not logged.
    left_out: u64,
}

impl Trouble {
    pub(super) fn new(servers: &[ServerAddr], mut secrets: Vec<String>) -> Self {
        // A user without a password is a token.
        let login =
            |server: &ServerAddr| server.password().or(server.username()).map(str::to_owned);
        secrets.extend(servers.iter().filter_map(login));
        secrets.retain(|secret| !secret.is_empty());
        let servers = listed(servers.iter().map(place).collect(), ", ");
        Self { servers, secrets, state: Mutex::default() }
    }

    /// The configured servers.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// The servers, and why there is no connection as far as that is known.
    pub(super) fn text(&self) -> String {
        self.state.lock().problem.clone().unwrap_or_else(|| self.servers.clone())
    }

    /// There is a connection.
    pub(super) fn is_over(&self) {
        let mut state = self.state.lock();
        (state.failed, state.problem, state.said, state.left_out) = (None, None, None, 0);
    }

    /// Looks at the results of the last round of attempts, before the next one.
    pub(super) async fn look(self: Arc<Self>, servers: Vec<Server>) {
        let now = servers.iter().map(|it| (place(&it.addr), it.failed_attempts)).collect();
        let Some(before) = self.state.lock().failed.replace(now) else { return };
        let mut problems = Vec::new();
        for server in &servers {
            let place = place(&server.addr);
            let is_news = before.get(&place).is_none_or(|before| *before != server.failed_attempts);
            if let Some(why) = self.why(server, is_news).await {
                problems.push(format!("{place}: {why}"));
            }
        }
        if problems.is_empty() {
            problems.push(self.servers.clone());
        }
        self.say(listed(problems, "; "));
    }

    /// Why a server was not connected to. Where the library has noted nothing in
    /// this round, its name may have no address.
    async fn why(&self, server: &Server, is_news: bool) -> Option<String> {
        if !is_news {
            let address = (server.addr.host(), server.addr.port());
            match timeout(LOOKUP_TIMEOUT, lookup_host(address)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Some(error.to_string()),
                Err(_) => return Some("the name is not resolved in time".to_owned()),
            }
        }
        server.last_error.as_deref().map(|error| self.clean(error))
    }

    /// An error of the library, in words that are safe to show.
    pub(super) fn clean(&self, error: &str) -> String {
        let error = error.strip_prefix("IO error: ").unwrap_or(error);
        let mut text = pem::handshake(&error);
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "…");
        }
        if text.to_lowercase().contains("authorization violation") {
            return "authorization violation: the server refuses the login of this gateway (see \
                    cluster.credentials, user and password, or token)"
                .to_owned();
        }
        match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn say(&self, problem: String) {
        let mut state = self.state.lock();
        // Connected meanwhile.
        if state.failed.is_none() {
            return;
        }
        state.problem = Some(problem.clone());
        let now = Instant::now();
        let is_early = state.said.as_ref().is_some_and(|(at, said)| {
            now.duration_since(*at) < if *said == problem { EVERY } else { NEWS }
        });
        if is_early {
            state.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut state.left_out);
        tracing::warn!(problem, left_out, "no connection to NATS; further attempts follow");
        state.said = Some((now, problem));
    }
}

/// A server's address without its login.
fn place(address: &ServerAddr) -> String {
    let (scheme, host, port) = (address.scheme(), address.host(), address.port());
    if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

/// The first names, and the number of the others.
fn listed(mut all: Vec<String>, between: &str) -> String {
    let more = all.len().saturating_sub(MAX_NAMED);
    all.truncate(MAX_NAMED);
    let named = all.join(between);
    if more > 0 { format!("{named}{between}and {more} more servers") } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str, failed_attempts: usize, last_error: Option<&str>) -> Server {
        Server {
            addr: address.parse().unwrap(),
            failed_attempts,
            did_connect: false,
            is_discovered: false,
            last_error: last_error.map(str::to_owned),
        }
    }

    async fn text_after(rounds: [Vec<Server>; 2]) -> String {
        let addresses: Vec<_> = rounds[0].iter().map(|server| server.addr.clone()).collect();
        let trouble = Arc::new(Trouble::new(&addresses, vec!["hunter2".to_owned()]));
        for round in rounds {
            Arc::clone(&trouble).look(round).await;
        }
        trouble.text()
    }

    #[tokio::test]
    async fn servers_are_named_with_the_causes() {
        let (a, b) = ("nats://user:hunter3@127.0.0.1:4222", "tls://[::1]");
        let authority = "IO error: invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        let text = text_after([
            vec![server(a, 0, None), server(b, 0, None)],
            vec![
                server(a, 1, Some("IO error: expected INFO, got hunter2 hunter3")),
                server(b, 1, Some(authority)),
            ],
        ]);
        let text = text.await;
        let (first, second) = text.split_once("; ").unwrap();
        assert_eq!(first, "nats://127.0.0.1:4222: expected INFO, got … …");
        assert!(second.starts_with("tls://[::1]:4222: invalid peer certificate: it is that of an"));
        let refused = "authorization violation: nats: authorization violation";
        let text = text_after([vec![server(a, 0, None)], vec![server(a, 1, Some(refused))]]).await;
        assert!(text.contains("cluster.credentials"), "{text}");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_the_cause_where_nothing_was_noted() {
        let nowhere = || vec![server("nats://nowhere.invalid:4222", 0, None)];
        let text = text_after([nowhere(), nowhere()]).await;
        assert!(text.starts_with("nats://nowhere.invalid:4222: "), "{text}");
        assert!(text.len() > "nats://nowhere.invalid:4222: ".len(), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_problem_is_logged_once_a_minute() {
        let trouble = Trouble::new(&["127.0.0.1:1".parse().unwrap()], Vec::new());
        trouble.state.lock().failed = Some(HashMap::new());
        let left_out = |problem: &str| {
            trouble.say(problem.to_owned());
            trouble.state.lock().left_out
        };
        assert_eq!([left_out("a"), left_out("a"), left_out("b")], [0, 1, 2]);
        tokio::time::advance(NEWS).await;
        assert_eq!([left_out("b"), left_out("b"), left_out("a")], [0, 1, 2]);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!([left_out("b"), left_out("a"), left_out("a")], [3, 0, 1]);
        tokio::time::advance(EVERY).await;
        assert_eq!(left_out("a"), 0);
        trouble.is_over();
        assert_eq!(trouble.text(), "nats://127.0.0.1:1");
    }
}
