//! The yardstick: a tonic client that calls the service itself, from one
//! single-threaded runtime, so many calls at a time. Its CPU time for a call is the
//! unit of all other figures.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridgehead::proto::demo::{GetFriendListReq, GetFriendListResp};
use hdrhistogram::Histogram;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{argument, runtime, say};
use crate::counters;
use crate::failure::{Context as _, Failure};
use crate::figures::number;

const METHOD: &str = "/pb.relationService/GetFriendList";

/// The upper bound of recorded latencies: a minute, in nanoseconds.
const MOST: u64 = 60_000_000_000;

/// The results of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) cpu_us_per_call: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// State shared by the calls of a run.
struct Run {
    message: Arc<GetFriendListReq>,
    is_measured: Cell<bool>,
    calls: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

/// Arguments: address, calls in flight, milliseconds to warm up, milliseconds
/// to measure, and the request in hexadecimal.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let address: String = argument(arguments, 0, "host:port of the service")?;
    let in_flight: usize = argument(arguments, 1, "the number of calls in flight")?;
    let warm_up = Duration::from_millis(argument(arguments, 2, "milliseconds to warm up")?);
    let measure = Duration::from_millis(argument(arguments, 3, "milliseconds to measure")?);
    let request: String = argument(arguments, 4, "the request in hexadecimal")?;
    let request = base16ct::lower::decode_vec(&request).context("the request is no hexadecimal")?;
    let message = GetFriendListReq::decode(&*request).context("the request is none")?;
    let run = Run {
        message: Arc::new(message),
        is_measured: Cell::new(false),
        calls: Cell::new(0),
        latencies: RefCell::new(Histogram::new_with_max(MOST, 3).context("no histogram")?),
    };
    let measured = LocalSet::new().block_on(&runtime()?, async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).context("the address")?;
        let channel = endpoint.connect().await.context("cannot reach the service")?;
        measure_calls(Rc::new(run), &channel, in_flight, warm_up, measure).await
    })?;
    say(&measured)
}

async fn measure_calls(
    run: Rc<Run>,
    channel: &Channel,
    in_flight: usize,
    warm_up: Duration,
    measure: Duration,
) -> Result<Measured, Failure> {
    let callers: Vec<_> = (0..in_flight)
        .map(|_| tokio::task::spawn_local(call_on_and_on(Rc::clone(&run), channel.clone())))
        .collect();
    tokio::time::sleep(warm_up).await;
    let pid = std::process::id();
    let (began, cpu) = (Instant::now(), counters::cpu(pid)?);
    run.is_measured.set(true);
    tokio::time::sleep(measure).await;
    run.is_measured.set(false);
    let (seconds, spent) = (began.elapsed().as_secs_f64(), counters::cpu(pid)?.saturating_sub(cpu));
    for caller in callers {
        if caller.is_finished() {
            return Err(Failure::new(match caller.await {
                Ok(status) => format!("a call failed: {status}"),
                Err(error) => error.to_string(),
            }));
        }
        caller.abort();
    }
    let calls = run.calls.get();
    let latencies = run.latencies.borrow();
    let micros = |quantile| number(latencies.value_at_quantile(quantile)) / 1000.0;
    Ok(Measured {
        calls,
        calls_per_second: number(calls) / seconds,
        cpu_us_per_call: spent.as_secs_f64() * 1e6 / number(calls),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
    })
}

/// One call after the other, until one fails.
async fn call_on_and_on(run: Rc<Run>, channel: Channel) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    loop {
        let began = Instant::now();
        if let Err(error) = client.ready().await {
            return Status::unavailable(error.to_string());
        }
        let request = Request::new(Arc::clone(&run.message));
        let path = PathAndQuery::from_static(METHOD);
        if let Err(status) = client.unary(request, path, SharedCodec).await {
            return status;
        }
        if run.is_measured.get() {
            run.calls.set(run.calls.get() + 1);
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            run.latencies.borrow_mut().saturating_record(nanos);
        }
    }
}

/// Encodes and decodes with prost, as generated clients do. The request is shared:
/// building one is no cost of the call.
struct SharedCodec;

impl Codec for SharedCodec {
    type Encode = Arc<GetFriendListReq>;
    type Decode = GetFriendListResp;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for SharedCodec {
    type Item = Arc<GetFriendListReq>;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for SharedCodec {
    type Item = GetFriendListResp;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = GetFriendListResp::decode(buffer);
        answer.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
