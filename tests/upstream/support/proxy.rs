//! A TCP proxy that can lose its state, and that looks at the PINGs that pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// The first bytes of a client (RFC 9113, 3.4).
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const PING: u8 = 6;

/// A proxy in front of one server, in the test's runtime.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    /// Connections with a lower number lead nowhere: their bytes are taken, and
    /// forgotten.
    forgotten: AtomicUsize,
    pings: AtomicUsize,
    drops_pings: AtomicBool,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(pass(client, server, number, Arc::clone(&shared)));
                }
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// PINGs that the client has sent.
    pub fn pings(&self) -> usize {
        self.shared.pings.load(Ordering::SeqCst)
    }

    /// All connections so far lead nowhere from now on; new ones do.
    pub fn forget(&self) {
        self.shared.forgotten.store(self.accepted(), Ordering::SeqCst);
    }

    /// No connection leads anywhere from now on, or the present ones and all new
    /// ones do again.
    pub fn forget_all(&self, forget: bool) {
        self.shared.forgotten.store(if forget { usize::MAX } else { 0 }, Ordering::SeqCst);
    }

    /// No PING reaches the server.
    pub fn drop_pings(&self) {
        self.shared.drops_pings.store(true, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, number: usize, shared: Arc<Shared>) {
    let server = TcpStream::connect(server).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_forgotten = {
        let shared = Arc::clone(&shared);
        move || number < shared.forgotten.load(Ordering::SeqCst)
    };
    let answers = {
        let is_forgotten = is_forgotten.clone();
        async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                if !is_forgotten() && to_client.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    };
    let requests = async move {
        let mut received = Vec::new();
        let mut begun = false;
        while let Ok(1..) = from_client.read_buf(&mut received).await {
            let mut passed = Vec::new();
            if !begun && received.len() >= PREFACE {
                passed.extend(received.drain(..PREFACE));
                begun = true;
            }
            while begun && let Some(frame) = take_frame(&mut received) {
                let is_ping = frame[3] == PING && frame[4] & 1 == 0;
                shared.pings.fetch_add(usize::from(is_ping), Ordering::SeqCst);
                if !(is_ping && shared.drops_pings.load(Ordering::SeqCst)) {
                    passed.extend(frame);
                }
            }
            if !is_forgotten() && to_server.write_all(&passed).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = requests => {}
    }
}

fn take_frame(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head = received.get(..FRAME_HEAD)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    (received.len() >= FRAME_HEAD + length).then(|| received.drain(..FRAME_HEAD + length).collect())
}
