//! The floor under fan-out: the same frame, written with write(2) to as many
//! non-blocking sockets as there are sessions, one after the other, and nothing
//! else.

use std::io::BufRead as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Ready, argument, say};
use crate::counters;
use crate::failure::{Context as _, Failure};

/// The results of some rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) writes: u64,
    pub(crate) cpu_seconds: f64,
}

/// Arguments: sockets, bytes of the frame, milliseconds between rounds. Then,
/// for each number in a line of standard input, so many rounds.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let count: usize = argument(arguments, 0, "the number of sockets")?;
    let bytes: usize = argument(arguments, 1, "the bytes of a frame")?;
    let pause = Duration::from_millis(argument(arguments, 2, "milliseconds between rounds")?);
    super::allow_descriptors();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    say(&Ready { address: listener.local_addr().context("cannot listen")? })?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let (socket, _) = listener.accept().context("cannot accept a connection")?;
        socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        socket.set_nonblocking(true).context("cannot use a connection")?;
        sockets.push(socket);
    }
    let frame = vec![b'.'; bytes];
    for line in std::io::stdin().lock().lines() {
        let line = line.context("standard input")?;
        let rounds: u32 = line.trim().parse().context("a number of rounds")?;
        let before = counters::cpu(std::process::id())?;
        for _ in 0..rounds {
            write_to_all(&sockets, &frame)?;
            thread::sleep(pause);
        }
        // Exact, as the thread has just slept.
        let spent = counters::cpu(std::process::id())?.saturating_sub(before);
        let writes = u64::from(rounds) * sockets.len() as u64;
        say(&Written { writes, cpu_seconds: spent.as_secs_f64() })?;
    }
    Ok(())
}

fn write_to_all(sockets: &[TcpStream], frame: &[u8]) -> Result<(), Failure> {
    for socket in sockets {
        match rustix::io::write(socket, frame) {
            Ok(written) if written == frame.len() => {}
            Ok(_) | Err(Errno::AGAIN) => return Err(Failure::new("a socket is not drained")),
            Err(error) => return Err(error).context("cannot write"),
        }
    }
    Ok(())
}
