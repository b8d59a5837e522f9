//! A server with one single-threaded runtime a core. Connections are dealt out
//! in turn, so that no run depends on where the kernel's hash puts them.

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use futures_util::{Stream, stream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Ready, end_with_input, runtime, say};
use crate::failure::{Context as _, Failure};

/// Serves on a free port of the loopback interface until standard input ends.
/// `serve` is started on each core, with the connections that are its.
pub(super) fn run<S, F>(serve: S) -> Result<(), Failure>
where
    S: Fn(mpsc::UnboundedReceiver<std::net::TcpStream>) -> F + Clone + Send + 'static,
    F: Future<Output = ()>,
{
    end_with_input();
    super::allow_descriptors();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let address = listener.local_addr().context("cannot listen")?;
    let mut cores = Vec::new();
    for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (sender, connections) = mpsc::unbounded_channel();
        let (runtime, serve) = (runtime()?, serve.clone());
        thread::spawn(move || runtime.block_on(serve(connections)));
        cores.push(sender);
    }
    say(&Ready { address })?;
    for core in cores.iter().cycle() {
        let (stream, _) = listener.accept().context("cannot accept a connection")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        stream.set_nonblocking(true).context("cannot use a connection")?;
        core.send(stream).context("a core's runtime has ended")?;
    }
    Ok(())
}

/// The connections, as the runtime that calls this has them.
pub(super) fn incoming(
    connections: mpsc::UnboundedReceiver<std::net::TcpStream>,
) -> impl Stream<Item = std::io::Result<TcpStream>> {
    stream::unfold(connections, |mut connections| async {
        let next = connections.recv().await?;
        Some((TcpStream::from_std(next), connections))
    })
}
