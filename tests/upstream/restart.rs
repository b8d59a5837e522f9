//! A service that is killed and started again under load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::grpc::{Received, Server, Setup, bind, call, handler, upstream};
use bridgehead::upstream::{Call, CallError, Upstream};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::sleep;
use tonic::Code;

/// How often each message was executed.
type Executions = Arc<Mutex<HashMap<Bytes, usize>>>;

fn setup(executions: &Executions) -> Setup {
    let executions = Arc::clone(executions);
    Setup::new(handler(move |Received { message, .. }| {
        let executions = Arc::clone(&executions);
        async move {
            *executions.lock().entry(message.clone()).or_default() += 1;
            sleep(Duration::from_millis(2)).await;
            Ok(message)
        }
    }))
}

/// One call of the load.
struct Done {
    message: Bytes,
    begun: Instant,
    result: Result<Bytes, CallError>,
}

/// Sixty-four clients that call as fast as they are answered.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<Done>>>,
}

impl Load {
    fn start(upstream: &Arc<Upstream>, retry: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let numbers = Arc::new(AtomicU64::new(0));
        let client = || {
            let (upstream, stop) = (Arc::clone(upstream), Arc::clone(&stop));
            let numbers = Arc::clone(&numbers);
            tokio::spawn(async move {
                let mut done = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    let message = Bytes::from(number.to_string());
                    let begun = Instant::now();
                    let call = Call { retry, ..call(message.clone()) };
                    let result = upstream.call(0, call).await;
                    if result.is_err() {
                        // As a client would after an error that asks for a retry.
                        sleep(Duration::from_millis(5)).await;
                    }
                    done.push(Done { message, begun, result });
                }
                done
            })
        };
        Self { clients: (0..64).map(|_| client()).collect(), stop }
    }

    async fn stop(self) -> Vec<Done> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        all
    }
}

#[tokio::test]
async fn every_call_has_one_answer_and_calls_succeed_soon_after_the_return() {
    let executions = Executions::default();
    let server = Server::start(setup(&executions));
    let upstream = upstream(&[&server.url()]);
    let load = Load::start(&upstream, false);
    sleep(Duration::from_millis(500)).await;
    let address = server.kill();
    // Long enough for the backoff to have grown to its longest.
    sleep(Duration::from_millis(2500)).await;
    let server = Server::start_on(bind(address), setup(&executions));
    let returned = Instant::now();
    sleep(Duration::from_millis(2500)).await;
    let done = load.stop().await;
    drop(server);

    let executions = executions.lock();
    for Done { message, begun, result } in &done {
        let times = executions.get(message).copied().unwrap_or(0);
        match result {
            Ok(answer) => assert_eq!((answer, times), (message, 1)),
            Err(error) => {
                assert_eq!(error.status.code(), Code::Unavailable, "{error}");
                assert!(times <= 1, "executed {times} times");
                let late = begun.checked_duration_since(returned).unwrap_or_default();
                assert!(late < Duration::from_secs(2), "fails {late:?} after the return");
            }
        }
    }
    let after = done.iter().filter(|done| done.begun > returned && done.result.is_ok()).count();
    assert!(after > 100, "{after} calls after the return");
    assert!(done.iter().any(|done| done.result.is_err()));
}

#[tokio::test]
async fn while_it_is_gone_calls_fail_at_once() {
    let server = Server::start(setup(&Executions::default()));
    let upstream = upstream(&[&server.url()]);
    upstream.call(0, call("first")).await.unwrap();
    let address = server.kill();
    crate::support::grpc::eventually("the loss is known", || {
        upstream.status().iter().all(|status| status.connections == 0 && status.problem.is_some())
    })
    .await;
    for _ in 0..20 {
        let begun = Instant::now();
        let error = upstream.call(0, call("second")).await.unwrap_err();
        assert_eq!(error.status.code(), Code::Unavailable);
        assert!(error.status.message().contains(&address.to_string()), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn calls_that_may_be_retried_do_not_notice_the_loss_of_one_endpoint_of_two() {
    let executions = Executions::default();
    let one = Server::start(setup(&executions));
    let two = Server::start(setup(&executions));
    let upstream = upstream(&[&one.url(), &two.url()]);
    let load = Load::start(&upstream, true);
    sleep(Duration::from_millis(500)).await;
    drop(one);
    sleep(Duration::from_millis(500)).await;
    let done = load.stop().await;
    let failed = done.iter().filter_map(|done| done.result.as_ref().err());
    assert_eq!(failed.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    drop(two);
}

#[tokio::test]
async fn calls_that_must_not_be_retried_are_executed_at_most_once() {
    let executions = Executions::default();
    let one = Server::start(setup(&executions));
    let two = Server::start(setup(&executions));
    let upstream = upstream(&[&one.url(), &two.url()]);
    let load = Load::start(&upstream, false);
    sleep(Duration::from_millis(300)).await;
    drop(one);
    sleep(Duration::from_millis(300)).await;
    let done = load.stop().await;
    assert!(executions.lock().values().all(|times| *times == 1));
    for Done { message, result, .. } in &done {
        match result {
            Ok(answer) => assert_eq!(answer, message),
            Err(error) => assert_eq!(error.status.code(), Code::Unavailable, "{error}"),
        }
    }
    drop(two);
}
