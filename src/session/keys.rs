//! The private key operation of the handshake, off the session threads.
//!
//! It takes a third of a millisecond, twice a handshake, and a reconnect storm
//! brings thousands: threads of their own do it, behind a queue that sheds rather
//! than grows. When CPU is short, handshakes wait rather than the calls of
//! existing sessions.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::metrics::HandshakeOutcome;
use crate::protocol::seed::rsa::{PrivateKey, WrongLength};
use crate::protocol::seed::{Cipher, KeyExchange, WrappedIv};

/// Handshakes that may wait. At some 1,500 a second and core the last of them
/// waits less than two seconds; behind workers that leave these threads a tenth
/// of a core, some fourteen.
const QUEUE: usize = 2048;

/// The threads' niceness: next to a busy worker each gets a tenth of a core.
const NICENESS: i32 = 10;

/// Unwraps the secrets that clients send and derives their ciphers.
#[derive(Debug)]
pub struct KeyService {
    modulus_len: usize,
    queue: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Job {
    exchange: KeyExchange,
    reply: oneshot::Sender<Cipher>,
}

/// The reason why a handshake's secrets were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A ciphertext is not as long as the key's modulus.
    #[error("a ciphertext of the wrong length")]
    WrongLength,
    /// Too many handshakes wait already.
    #[error("too many handshakes at once")]
    Busy,
}

impl Refused {
    /// The outcome in metrics.
    pub(super) fn outcome(self) -> HandshakeOutcome {
        match self {
            Self::WrongLength => HandshakeOutcome::Malformed,
            Self::Busy => HandshakeOutcome::Shed,
        }
    }
}

impl KeyService {
    /// Starts `threads` threads, which end when the service is dropped.
    pub fn start(key: PrivateKey, threads: usize) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let modulus_len = key.modulus_len();
        let (key, jobs) = (Arc::new(key), Arc::new(Mutex::new(jobs)));
        let waiting = Arc::new(AtomicUsize::new(0));
        for n in 0..threads.max(1) {
            let (key, jobs) = (Arc::clone(&key), Arc::clone(&jobs));
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new()
                .name(format!("handshake-{n}"))
                .spawn(move || work(&key, &jobs, &waiting))?;
        }
        Ok(Self { modulus_len, queue, waiting })
    }

    /// Queues the ciphertexts of a setCxnParams. Any content yields a cipher: a
    /// bad ciphertext shows only by a cipher that does not work. The receiver may
    /// be dropped at any time.
    pub fn submit(&self, exchange: KeyExchange) -> Result<oneshot::Receiver<Cipher>, Refused> {
        let KeyExchange { aes_key, iv } = &exchange;
        let fits = |ciphertext: &[u8]| ciphertext.len() == self.modulus_len;
        if !fits(aes_key) || matches!(iv, WrappedIv::Client(aes_iv) if !fits(aes_iv)) {
            return Err(Refused::WrongLength);
        }
        let (reply, cipher) = oneshot::channel();
        // Counted before the job is sent, since a thread may take it at once.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match self.queue.try_send(Job { exchange, reply }) {
            Ok(()) => Ok(cipher),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(Refused::Busy)
            }
        }
    }

    /// Handshakes that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

fn work(key: &PrivateKey, jobs: &Mutex<Receiver<Job>>, waiting: &AtomicUsize) {
    // On Linux this affects the calling thread alone.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICENESS)
    {
        tracing::debug!(%error, "handshakes are as urgent as calls");
    }
    loop {
        let Ok(job) = jobs.lock().recv() else { return };
        waiting.fetch_sub(1, Ordering::Relaxed);
        if job.reply.is_closed() {
            continue; // the client did not wait
        }
        if let Ok(cipher) = derive(key, &job) {
            // The session may be gone by now; the result is dropped then.
            let _gone = job.reply.send(cipher);
        }
    }
}

fn derive(key: &PrivateKey, job: &Job) -> Result<Cipher, WrongLength> {
    let secret = key.unwrap_secret(&job.exchange.aes_key)?;
    Ok(match &job.exchange.iv {
        WrappedIv::Client(aes_iv) => {
            let iv = key.unwrap_secret(aes_iv)?;
            Cipher::derive(secret.as_bytes(), iv.as_bytes())
        }
        WrappedIv::Gateway(iv) => Cipher::with_iv(secret.as_bytes(), *iv),
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use bytes::Bytes;

    use super::*;

    fn exchange(aes_key: Bytes, iv: WrappedIv) -> KeyExchange {
        KeyExchange { aes_key, iv }
    }

    #[tokio::test]
    async fn what_waits_is_counted_until_its_turn_comes() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = pair.as_der().unwrap();
        let pem =
            pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, der.as_ref());
        let key = PrivateKey::from_pem(pem.unwrap().into_bytes()).unwrap();
        let bytes = Bytes::from(vec![1; key.modulus_len()]);
        let service = KeyService::start(key, 1).unwrap();
        assert_eq!(
            service.submit(exchange(bytes.slice(1..), WrappedIv::Client(bytes.clone()))).err(),
            Some(Refused::WrongLength)
        );
        for iv in [WrappedIv::Gateway([0; 16]), WrappedIv::Client(bytes.clone())] {
            let short = service.submit(exchange(bytes.slice(1..), iv)).err();
            assert_eq!(short, Some(Refused::WrongLength));
        }
        assert_eq!(service.waiting(), 0);
        let mut ciphers = Vec::new();
        // The one thread is slower than this one.
        let busy = loop {
            match service.submit(exchange(bytes.clone(), WrappedIv::Client(bytes.clone()))) {
                Ok(cipher) => ciphers.push(cipher),
                Err(refused) => break refused,
            }
        };
        assert_eq!(busy, Refused::Busy);
        assert!((QUEUE - 1..=QUEUE).contains(&service.waiting()), "{}", service.waiting());
        // A job without a receiver is skipped.
        let last = ciphers.pop().unwrap();
        drop(ciphers);
        last.await.unwrap();
        assert_eq!(service.waiting(), 0);
    }
}
