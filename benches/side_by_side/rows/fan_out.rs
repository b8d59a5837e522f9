//! One push to every session, against a bare loop of write(2).

use std::thread;
use std::time::{Duration, Instant};

use bridgehead::proto::push::push_receipt::Outcome;
use bridgehead::proto::push::push_service_client::PushServiceClient;
use bridgehead::proto::push::{Confirm, PushRequest, Target as Pushed};
use bridgehead::proto::session::PushBody;
use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use super::Bench;
use crate::counters;
use crate::document::Group;
use crate::failure::{Context as _, Failure};
use crate::figures::{Unit, number};
use crate::gateway::{Gateway, Setup};
use crate::load::Crowd;
use crate::parts::{self, Written};
use crate::processes::Process;
use crate::table::{Row, Target};

/// An event that no client knows.
const EVENT: i32 = 1000;
/// Bytes of data in a push.
const SIZE: usize = 256;
/// Bytes before a frame of that size.
const FRAME_HEADER: usize = 4;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A backend that pushes to everyone.
struct Backend {
    runtime: Runtime,
    client: PushServiceClient<Channel>,
    sessions: u64,
}

#[derive(Default)]
struct Measured {
    /// Deliveries and writes in a second of CPU time.
    deliveries: Vec<f64>,
    writes: Vec<f64>,
    /// Bytes a session above the idle figure, less a copy of the message.
    memory: Vec<f64>,
    /// From a push to its last receipt.
    last: Vec<f64>,
}

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let sessions = bench.plan.sessions;
    let gateway = bench.gateway(&Setup::default())?;
    let crowd = Crowd {
        url: &gateway.url,
        pid: gateway.pid(),
        sessions,
        encrypt: false,
        hold: Duration::from_secs(3600),
        burst: &[],
    };
    // Stays until it is dropped.
    let mut crowd = bench.generator.start_idle(&crowd)?;
    wait_for(&gateway, &mut crowd, sessions)?;
    let frame = PushBody { event: EVENT, data: data() }.encoded_len() + FRAME_HEADER;
    let pause = bench.plan.pause.as_millis().to_string();
    let words = ["write-loop", &sessions.to_string(), &frame.to_string(), &pause];
    let (mut floor, address) = parts::serve(&words)?;
    let drain = parts::serve(&["drain", &address.to_string(), &sessions.to_string()])?;

    let backend = Backend::connect(&gateway, sessions)?;
    // Memory that is loaded once and kept is no session's.
    backend.push(&Pushed { user_ids: vec!["crowd-0".to_owned()], ..Pushed::default() }, 1)?;
    let idle = counters::resident(gateway.pid())?;
    let mut measured = Measured::default();
    for _ in 0..bench.plan.few_rounds {
        measured.round(bench, &gateway, &mut floor, &backend, idle)?;
    }
    drop(drain);
    Ok(measured.group(sessions, frame))
}

impl Measured {
    fn round(
        &mut self,
        bench: &Bench,
        gateway: &Gateway,
        floor: &mut Process,
        backend: &Backend,
        idle: u64,
    ) -> Result<(), Failure> {
        let pushes = bench.plan.pushes;
        floor.tell(&pushes.to_string())?;
        let written: Written = floor.json(PATIENCE)?;
        let writes = number(written.writes) / written.cpu_seconds;

        counters::forget_peak(gateway.pid())?;
        let before = counters::cpu(gateway.pid())?;
        for _ in 0..pushes {
            let began = Instant::now();
            backend.push(&everyone(), backend.sessions)?;
            self.last.push(began.elapsed().as_secs_f64() * 1e6);
            thread::sleep(bench.plan.pause);
        }
        let spent = counters::cpu(gateway.pid())?.saturating_sub(before).as_secs_f64();
        let deliveries = number(u64::from(pushes) * backend.sessions) / spent;
        let above = number(counters::peak(gateway.pid())?) - number(idle) - number(SIZE as u64);
        let memory = above / number(backend.sessions);
        eprintln!(
            "  {deliveries:.0} deliveries and {writes:.0} writes in a second of CPU time; \
             {memory:.0} bytes a session more than idle"
        );
        self.deliveries.push(deliveries);
        self.writes.push(writes);
        self.memory.push(memory);
        Ok(())
    }

    fn group(self, sessions: u64, frame: usize) -> Group {
        let ratios = super::ratios(&self.deliveries, &self.writes);
        let rows = vec![
            Row::new("deliveries, of the write loop's writes", Unit::Times, ratios)
                .with(Target::AtLeast(0.9)),
            Row::new("memory meanwhile, a session, above idle", Unit::Bytes, self.memory)
                .with(Target::AtMost(64.0)),
            Row::new("deliveries in a second of CPU time", Unit::PerSecond, self.deliveries),
            Row::new("floor: writes in a second of CPU time", Unit::PerSecond, self.writes),
            Row::new("from a push to its last receipt", Unit::Micros, self.last),
        ];
        Group {
            intro: format!(
                "A push of {SIZE} bytes to {} sessions, and a receipt (WRITTEN) of each: \
                 deliveries in a second of the gateway's CPU time, the receipts' included, against \
                 writes of a frame of the same {frame} bytes to as many sockets in a second of the \
                 loop's. Memory is the peak of resident memory less what it was after a push to \
                 one session and before the first to all, and less one copy of the message.",
                Unit::Count.show(number(sessions))
            ),
            rows,
            loads: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Backend {
    fn connect(gateway: &Gateway, sessions: u64) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start a runtime")?;
        let endpoint = Endpoint::from_shared(gateway.push_url.clone()).context("the push API")?;
        let channel = runtime.block_on(endpoint.connect()).context("cannot reach the push API")?;
        Ok(Self { runtime, client: PushServiceClient::new(channel), sessions })
    }

    /// Pushes, and reads the receipts of so many sessions.
    fn push(&self, target: &Pushed, sessions: u64) -> Result<(), Failure> {
        let request = PushRequest {
            target: Some(target.clone()),
            event: EVENT,
            data: data(),
            confirm: Confirm::Written.into(),
            deadline: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            ..PushRequest::default()
        };
        self.runtime.block_on(async {
            let receipts = self.client.clone().push(request).await.context("cannot push")?;
            let mut receipts = receipts.into_inner();
            let mut written = 0;
            while let Some(receipt) = receipts.message().await.context("no more receipts")? {
                if receipt.outcome() != Outcome::Written {
                    return Err(Failure::new(format!("a push was not written: {receipt:?}")));
                }
                written += 1;
            }
            if written == sessions {
                return Ok(());
            }
            Err(Failure::new(format!("{written} sessions got a push that was for {sessions}")))
        })
    }
}

fn everyone() -> Pushed {
    Pushed { everyone: true, ..Pushed::default() }
}

fn data() -> Bytes {
    Bytes::from_static(&[b'.'; SIZE])
}

/// Waits until all sessions are there, by their file descriptors: a question to the
/// gateway would change its memory, which is measured.
fn wait_for(gateway: &Gateway, crowd: &mut Process, sessions: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while (counters::descriptors(gateway.pid())? as u64) < sessions {
        if !crowd.is_running() || Instant::now() > deadline {
            return Err(crowd.failure("did not open all sessions"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    // The last of them may be logging in.
    thread::sleep(Duration::from_secs(2));
    Ok(())
}
