//! The header in front of a connection, in which a load balancer names the client.
//!
//! - Any bytes are a header or are refused, without a panic, and without a wait
//!   for more once the stream has ended.
//! - Exactly the header is taken off the socket.
//! - Cutting the stream makes no difference.
//! - Both versions are read as the crate `ppp` reads them.

#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use bridgehead::edge::proxy_protocol::{self, Broken, Source};
use libfuzzer_sys::fuzz_target;
use ppp::{v1, v2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// The longest header of version 2 that the gateway reads.
const MAX_V2: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static NETWORK: Network = Network::new();
}

struct Network {
    runtime: Runtime,
    listener: TcpListener,
}

/// A source and the bytes behind the header, or the text of an error.
type Outcome = Result<(Source, Vec<u8>), String>;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.last().map_or(0, |last| usize::from(*last) % bytes.len());
    let (whole, pieces) = NETWORK
        .with(|network| (network.read(&[bytes]), network.read(&[&bytes[..cut], &bytes[cut..]])));
    assert_eq!(whole, pieces, "cut at {cut}");

    let (theirs, is_lenient) = read_by_ppp(bytes);
    match (&whole, &theirs) {
        (Ok(ours), Some(theirs)) if !is_lenient => assert_eq!(ours, theirs),
        (Err(error), Some(theirs)) => assert!(is_lenient, "{error}, but {theirs:?}"),
        (Ok((Source::Client(ip), _)), None) => assert!(has_leading_zero(bytes), "{ip}"),
        // Fields that no family needs, which ppp checks all the same.
        _ => {}
    }
});

impl Network {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        Self { runtime, listener }
    }

    /// Reads a header from a connection on which these pieces arrive one after
    /// the other, then its end.
    fn read(&self, pieces: &[&[u8]]) -> Outcome {
        self.runtime.block_on(async {
            let address = self.listener.local_addr().expect("it is bound");
            let (client, accepted) =
                tokio::join!(TcpStream::connect(address), self.listener.accept());
            let (mut client, (mut stream, _)) =
                (client.expect("connects"), accepted.expect("accepts"));
            client.set_nodelay(true).expect("a socket");
            // A reset at the end, so that no ports are left in TIME_WAIT.
            client.set_zero_linger().expect("a socket");
            let write = async {
                for piece in pieces {
                    // The reader may have refused the rest.
                    let _ = client.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
                let _ = client.shutdown().await;
            };
            let read = async {
                let source = proxy_protocol::read(&mut stream).await;
                let source = source.map_err(|error| match error {
                    Broken::Io(error) => panic!("loopback failed: {error}"),
                    error => error.to_string(),
                })?;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.expect("loopback");
                Ok((source, rest))
            };
            let both = async { tokio::join!(read, write).0 };
            let outcome = timeout(PATIENCE, both).await.expect("no wait for bytes after the end");
            // Before the reader's side, whose end would make it wait.
            drop(client);
            outcome
        })
    }
}

/// The same by `ppp`, and whether it has accepted a header that the specification
/// does not allow.
fn read_by_ppp(bytes: &[u8]) -> (Option<(Source, Vec<u8>)>, bool) {
    if let Ok(header) = v2::Header::try_from(bytes) {
        let len = header.header.len();
        let source = match (header.command, header.protocol, header.addresses) {
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(it)) => {
                client(it.source_address)
            }
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(it)) => {
                client(it.source_address)
            }
            _ => Source::NotSaid,
        };
        return (Some((source, bytes[len..].to_vec())), len > MAX_V2);
    }
    let Ok(header) = v1::Header::try_from(bytes) else { return (None, false) };
    let line = header.header.as_bytes();
    let source = match header.addresses {
        v1::Addresses::Unknown => Source::NotSaid,
        v1::Addresses::Tcp4(it) => client(it.source_address),
        v1::Addresses::Tcp6(it) => client(it.source_address),
    };
    // A port such as `+1`; a line feed within the line, or alone at its end.
    let is_lenient =
        line.contains(&b'+') || line.strip_suffix(b"\r\n").is_none_or(|line| line.contains(&b'\n'));
    (Some((source, bytes[line.len()..].to_vec())), is_lenient)
}

fn client(ip: impl Into<IpAddr>) -> Source {
    Source::Client(ip.into().to_canonical())
}

/// Whether the line has a port such as `080`, which `ppp` refuses.
fn has_leading_zero(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.split(|byte| matches!(byte, b' ' | b'\r'))
        .any(|word| word.len() > 1 && word[0] == b'0' && word.iter().all(u8::is_ascii_digit))
}
