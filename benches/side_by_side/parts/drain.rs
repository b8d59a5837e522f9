//! The other end of the write loop: opens the sockets, and reads whatever comes.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::{Ready, argument, end_with_input, runtime, say};
use crate::failure::{Context as _, Failure};

/// Sockets that one source address serves: an address has some 28,000 ports.
const PER_SOURCE: usize = 10_000;

/// Arguments: where to connect, and how often.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let address: SocketAddr = argument(arguments, 0, "host:port of the write loop")?;
    let count: usize = argument(arguments, 1, "the number of sockets")?;
    end_with_input();
    super::allow_descriptors();
    runtime()?.block_on(async {
        for nth in 0..count {
            tokio::spawn(drain(connect(address, nth).await.context("cannot connect")?));
        }
        say(&Ready { address })?;
        std::future::pending().await
    })
}

async fn connect(address: SocketAddr, nth: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // All of 127.0.0.0/8 is this machine.
    let host = u32::try_from(nth / PER_SOURCE).unwrap_or_default();
    let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + host);
    socket.bind((source, 0).into())?;
    socket.connect(address).await
}

async fn drain(mut socket: TcpStream) {
    let mut buffer = [0; 1024];
    while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
