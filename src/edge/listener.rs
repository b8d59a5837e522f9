//! The accept loop: one on each worker.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Config;
use super::admission::{Admission, Permit, Refused};
use super::forwarded::{self, Peer};
use super::proxy_protocol::{self, Broken, Source};
use super::upgrade::{NotOpened, negotiate};
use super::warnings::Warnings;
use crate::call::Client;
use crate::metrics::{ConnectionRefusal, Sessions};
use crate::protocol::Close;
use crate::session::{self, Socket};
use crate::tls::Tls;

/// After an accept that failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One worker's share of the client listener.
pub struct Edge {
    config: Arc<Config>,
    admission: Arc<Admission>,
    tls: Option<Arc<Tls>>,
    worker: Arc<session::Worker>,
    warnings: Arc<Warnings>,
}

impl Edge {
    /// An edge whose sessions live on `worker`. Configuration, admission,
    /// warnings and TLS are shared by all workers.
    pub fn new(
        config: Arc<Config>,
        admission: Arc<Admission>,
        warnings: Arc<Warnings>,
        tls: Option<Arc<Tls>>,
        worker: Arc<session::Worker>,
    ) -> Self {
        Self { config, admission, tls, worker, warnings }
    }

    /// Accepts connections until `stop` is true. Open connections stay.
    pub async fn run(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.accept(stream, peer),
                Err(error) => {
                    self.counted().failed.inc();
                    self.warnings.not_accepted(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn counted(&self) -> &Sessions {
        &self.worker.calls.metrics.sessions
    }

    fn accept(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        self.counted().accepted.inc();
        // Behind a proxy the client's address is known later.
        let ip = peer.ip().to_canonical();
        let ip = (!forwarded::is_trusted(ip, &self.config.trusted_proxies)).then_some(ip);
        let Some(permit) = self.admission.enter(ip) else {
            return self.drop_unheard(peer.ip());
        };
        // Answers are written in one go; waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection lost before it began");
            return;
        }
        let edge = Arc::clone(self);
        let deadline = Instant::now() + edge.config.handshake_timeout;
        tokio::spawn(async move { edge.enter(stream, peer, permit, deadline).await });
    }

    /// Everything in front of HTTP: the PROXY header, and TLS.
    async fn enter(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut permit: Permit,
        deadline: Instant,
    ) {
        let mut from = Peer::at(peer.ip());
        if self.config.proxy_protocol {
            from = match timeout_at(deadline, self.introduced(&mut stream, from)).await {
                Ok(Some(introduced)) => introduced,
                Ok(None) => return,
                Err(_) => {
                    self.counted().refused.inc(ConnectionRefusal::Timeout);
                    tracing::debug!(%peer, "the PROXY header took too long");
                    return;
                }
            };
            if !forwarded::is_trusted(from.ip, &self.config.trusted_proxies) {
                permit = match permit.counted_for(from.ip) {
                    Some(permit) => permit,
                    None => return self.drop_unheard(from.ip),
                };
            }
        } else if let Ok(true) = timeout_at(deadline, proxy_protocol::begins(&stream)).await {
            // It is no beginning of TLS or HTTP either: these refuse it.
            self.warnings.unexpected_header(peer.ip());
        }
        let Some(tls) = &self.tls else { return self.serve(stream, from, permit, deadline).await };
        match timeout_at(deadline, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, from, permit, deadline).await,
            Ok(Err(error)) => {
                self.counted().refused.inc(ConnectionRefusal::Tls);
                tracing::debug!(%peer, %error, "TLS handshake failed");
            }
            Err(_) => {
                self.counted().refused.inc(ConnectionRefusal::Timeout);
                tracing::debug!(%peer, "TLS handshake took too long");
            }
        }
    }

    /// The peer according to the PROXY header in front of the connection; `None`
    /// where that ends it. A trusted proxy has to send one, and no other peer may:
    /// a direct connection has its own address.
    async fn introduced(&self, stream: &mut TcpStream, peer: Peer) -> Option<Peer> {
        let is_proxy = forwarded::is_trusted(peer.ip, &self.config.trusted_proxies);
        let told = if is_proxy {
            proxy_protocol::read(stream).await
        } else {
            proxy_protocol::refuse(stream).await
        };
        let wrong = match told {
            Ok(_) if !is_proxy => return Some(peer),
            Ok(source) if proxy_protocol::goes_on(stream).await => {
                return Some(match source {
                    Source::Client(ip) => Peer::at(ip),
                    // Its requests may come from any client, so they cannot name one.
                    Source::NotSaid => Peer { may_name_client: false, ..peer },
                });
            }
            // Health checks.
            Ok(_) | Err(Broken::Nothing) => return None,
            Err(wrong) => wrong,
        };
        self.counted().refused.inc(ConnectionRefusal::ProxyProtocol);
        self.warnings.broken_header(peer.ip, &wrong);
        None
    }

    fn drop_unheard(&self, peer: IpAddr) {
        self.warnings.dropped(peer);
        self.counted().refused.inc(ConnectionRefusal::Dropped);
    }

    async fn serve<S>(&self, stream: S, peer: Peer, mut permit: Permit, deadline: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed, so that the HTTP machinery takes no room in the session's task.
        let negotiated = Box::pin(negotiate(stream, peer, &self.config));
        let Ok(upgraded) = timeout_at(deadline, negotiated).await else {
            tracing::debug!(peer = %peer.ip, "HTTP handshake took too long");
            self.counted().refused.inc(ConnectionRefusal::Timeout);
            return;
        };
        let upgraded = match upgraded {
            Ok(upgraded) => upgraded,
            Err(why) => {
                self.counted().refused.inc(match why {
                    NotOpened::Http => ConnectionRefusal::Http,
                    NotOpened::Origin => ConnectionRefusal::Origin,
                });
                return;
            }
        };
        let refusal = permit.refusal().or_else(|| permit.count_ip(upgraded.remote_ip).err());
        let max_message = self.worker.config.max_message;
        let socket = Socket::new(upgraded.stream, &upgraded.read_ahead, max_message);
        match refusal {
            Some(why) => {
                self.counted().refused.inc(match why {
                    Refused::Full => ConnectionRefusal::Full,
                    Refused::PerAddress => ConnectionRefusal::PerIp,
                });
                self.warnings.refused(upgraded.remote_ip, why);
                session::refuse(socket, &Close::Full(why.text())).await;
            }
            None => {
                let client = Client {
                    remote_ip: upgraded.remote_ip,
                    user_agent: upgraded.user_agent,
                    trace_parent: upgraded.trace_parent,
                };
                let worker = Arc::clone(&self.worker);
                // A task of its own: this one has room for all that went before.
                tokio::spawn(session::run(socket, client, upgraded.protocol, worker, permit));
            }
        }
    }
}
