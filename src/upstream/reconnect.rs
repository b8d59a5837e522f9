//! Keeps one connection to an endpoint open: connects, waits until it closes,
//! connects again, with backoff after failures.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connection::{Closed, Connection};
use super::dial::CONNECT_TIMEOUT;
use super::endpoint::{Endpoint, Phase};
use super::pool::Pool;
use super::waiters::Waiters;

/// A connection that closes sooner than this counts as a failed attempt, so
/// that a service which accepts and hangs up is not stormed.
const PROVEN: Duration = Duration::from_secs(1);

/// The wait after one failed attempt.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Kept short: calls must succeed again within two seconds of a service's
/// return, and one connection attempt a second harms nobody.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Runs until the endpoint is retired or the pool is gone.
pub(super) async fn keep(
    pool: Weak<Pool>,
    endpoint: Arc<Endpoint>,
    index: usize,
    waiters: Arc<Waiters>,
) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let attempt = tokio::select! {
            () = endpoint.retired() => return,
            attempt = connect(&endpoint, &waiters) => attempt,
        };
        let problem = match attempt {
            Err(problem) => problem,
            Ok((connection, closed)) => {
                endpoint.set_phase(index, Phase::Connected);
                match serve(&pool, connection, closed).await {
                    Served::Retired => return,
                    Served::TooShort(problem) => problem,
                    Served::Proven => {
                        backoff.succeeded();
                        endpoint.set_phase(index, Phase::Connecting);
                        continue;
                    }
                }
            }
        };
        endpoint.journal().failed(endpoint.label(), &problem);
        endpoint.set_phase(index, Phase::Failing);
        let Some(pool) = pool.upgrade() else { return };
        pool.unreachable(format!("{}: {problem}", endpoint.label()).into());
        drop(pool);
        tokio::select! {
            () = endpoint.retired() => return,
            () = sleep(backoff.failed(rand::random())) => {}
        }
    }
}

type Opened = (Arc<Connection>, oneshot::Receiver<Closed>);

async fn connect(endpoint: &Arc<Endpoint>, waiters: &Arc<Waiters>) -> Result<Opened, String> {
    let open = async {
        let io = endpoint.target.dial().await.map_err(|error| error.to_string())?;
        Connection::open(io, Arc::clone(endpoint), Arc::clone(waiters))
            .await
            .map_err(|error| format!("the peer does not speak HTTP/2: {error}"))
    };
    timeout(CONNECT_TIMEOUT, open).await.unwrap_or_else(|_| Err("the peer does not answer".into()))
}

enum Served {
    /// It lasted. The next one may be made at once.
    Proven,
    /// It closed so soon that it must have a reason.
    TooShort(String),
    /// There is to be no next one.
    Retired,
}

/// Has a connection used until it closes.
async fn serve(
    pool: &Weak<Pool>,
    connection: Arc<Connection>,
    mut closed: oneshot::Receiver<Closed>,
) -> Served {
    let endpoint = Arc::clone(connection.endpoint());
    match pool.upgrade() {
        Some(pool) => pool.connected(Arc::clone(&connection)),
        None => return Served::Retired,
    }
    endpoint.journal().connected(endpoint.label());
    let mut proven = false;
    let closed = loop {
        tokio::select! {
            () = endpoint.retired() => break None,
            closed = &mut closed => {
                break Some(closed.unwrap_or(Closed::Broken("its task ended".into())));
            }
            () = sleep(PROVEN), if !proven => {
                proven = true;
                endpoint.journal().proven(endpoint.label());
            }
        }
    };
    endpoint.journal().disconnected(endpoint.label(), closed.as_ref());
    let Some(closed) = closed else { return Served::Retired };
    if let Some(pool) = pool.upgrade() {
        pool.disconnected(&connection);
    }
    match closed {
        _ if proven => Served::Proven,
        Closed::Goodbye => Served::TooShort("the connection is closed at once".into()),
        Closed::Broken(error) => Served::TooShort(error),
    }
}
