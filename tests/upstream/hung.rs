//! Services and connections that take calls and answer none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::grpc::{
    Handler, Received, Server, Setup, ask, call, config, echo, eventually, handler, upstream,
};
use crate::support::proxy::Proxy;
use bridgehead::upstream::{Call, CallError, Config, EndpointState, Origin, Upstream};
use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tonic::{Code, Status};

/// The route's timeout in these tests.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Calls that may take as long as a route says.
fn routed(message: &'static str) -> Call {
    Call { timeout: TIMEOUT, ..call(message) }
}

/// A call of a steady load.
struct Made {
    sent: Instant,
    ended: Instant,
    result: Result<Bytes, CallError>,
}

/// Forty calls a second, until stopped.
struct Load {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Made>>,
}

impl Load {
    fn start(upstream: &Arc<Upstream>) -> Self {
        let (upstream, stop) = (Arc::clone(upstream), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let calls = tokio::spawn(async move {
            let mut beat = interval(Duration::from_millis(25));
            let mut calls = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                beat.tick().await;
                let sent = Instant::now();
                let result = upstream.call(0, routed("hello"));
                calls.push(tokio::spawn(async move {
                    let result = result.await;
                    Made { sent, ended: Instant::now(), result }
                }));
            }
            let mut made = Vec::new();
            for call in calls {
                made.push(call.await.unwrap());
            }
            made
        });
        Self { stop, calls }
    }

    async fn stop(self) -> Vec<Made> {
        self.stop.store(true, Ordering::SeqCst);
        self.calls.await.unwrap()
    }
}

/// How long after the third time-out the last call failed; prints it.
fn time_to_heal(what: &str, calls: &[Made], broken: Instant) -> Duration {
    let mut failed: Vec<_> = calls.iter().filter(|call| call.result.is_err()).collect();
    failed.sort_by_key(|call| call.ended);
    let Some(last) = failed.last() else {
        println!("{what}: no call failed");
        return Duration::ZERO;
    };
    let timeouts = failed.iter().filter(|call| {
        call.result.as_ref().is_err_and(|error| error.status.code() == Code::DeadlineExceeded)
    });
    let third = timeouts.map(|call| call.ended).nth(2).unwrap_or(last.ended);
    let healed = last.ended.saturating_duration_since(third);
    println!(
        "{what}: {} of {} calls failed, the last {:?} after it began and {healed:?} after the \
         third time-out; the last of them was sent after {:?}",
        failed.len(),
        calls.len(),
        last.ended - broken,
        failed.iter().map(|call| call.sent).max().unwrap().saturating_duration_since(broken),
    );
    healed
}

fn state(upstream: &Upstream, url: &str) -> EndpointState {
    upstream.status().iter().find(|status| &*status.address == url).unwrap().state()
}

async fn up(upstream: &Arc<Upstream>) {
    upstream.warm(0);
    eventually("all is connected", || {
        upstream.status().iter().all(|status| status.connections == 2)
    })
    .await;
}

#[tokio::test]
async fn connections_that_lead_nowhere_are_replaced() {
    let server = Server::start(Setup::new(echo()));
    let proxy = Proxy::start(server.address).await;
    let upstream = upstream(&[&proxy.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    sleep(Duration::from_secs(1)).await;
    let broken = Instant::now();
    proxy.forget();
    sleep(Duration::from_secs(6)).await;
    let calls = load.stop().await;
    let healed = time_to_heal("a proxy that lost its state", &calls, broken);
    assert!(healed < Duration::from_secs(5));
    let failed = calls.iter().filter(|call| call.result.is_err()).count();
    assert!(failed < 120, "{failed} failed");
    let late = calls.iter().filter(|call| call.sent > broken + Duration::from_secs(4));
    assert!(late.clone().count() > 50 && late.clone().all(|call| call.result.is_ok()));
    assert_eq!(proxy.accepted(), 4, "each connection was replaced once");
    assert_eq!(upstream.counts().replacements, 2);
    assert_eq!(state(&upstream, &proxy.url()), EndpointState::Up);
}

#[tokio::test]
async fn an_endpoint_behind_a_dead_link_is_not_stormed_and_comes_back() {
    let server = Server::start(Setup::new(echo()));
    let proxy = Proxy::start(server.address).await;
    let upstream = upstream(&[&proxy.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    sleep(Duration::from_millis(500)).await;
    proxy.forget_all(true);
    let is = |wanted| state(&upstream, &proxy.url()) == wanted;
    eventually("no connection answers", || {
        upstream.status()[0].connections == 0 && is(EndpointState::Unresponsive)
    })
    .await;
    let complaint = upstream.status()[0].complaint().unwrap();
    assert!(complaint.contains("nothing was received for"), "{complaint}");
    // No call is sent into the dark, and none hangs for longer than it must.
    sleep(Duration::from_secs(7)).await;
    let begun = Instant::now();
    let error = upstream.call(0, routed("hello")).await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Gateway));
    assert!(begun.elapsed() < TIMEOUT / 2, "{:?}", begun.elapsed());
    assert!(proxy.accepted() <= 8, "{} connections in ten seconds", proxy.accepted());

    proxy.forget_all(false);
    eventually("it is in use again", || state(&upstream, &proxy.url()) == EndpointState::Up).await;
    let back = Instant::now();
    sleep(Duration::from_secs(1)).await;
    let calls = load.stop().await;
    assert!(calls.iter().filter(|call| call.sent > back).all(|call| call.result.is_ok()));
}

#[tokio::test]
async fn one_worker_that_finds_the_hang_has_the_idle_connections_of_all_asked_by_one_ping() {
    let server = Server::start(Setup::new(echo()));
    let proxy = Proxy::start(server.address).await;
    let upstream = Arc::new(Upstream::new(config(&[&proxy.url()]), 3).unwrap());
    (0..3).for_each(|worker| upstream.warm(worker));
    let connections = |count| upstream.status()[0].connections == count;
    eventually("all is connected", || connections(6)).await;
    let begun = proxy.pings();
    proxy.forget_all(true);
    let error = upstream.call(0, call("hello")).await.unwrap_err();
    assert_eq!(error.origin, Origin::Gateway);
    eventually("no connection is in use", || connections(0)).await;
    assert_eq!(state(&upstream, &proxy.url()), EndpointState::Unresponsive);
    // A new connection begins with a PING as well.
    let pings = proxy.pings() - begun;
    let most = proxy.accepted();
    assert!((6..=most).contains(&pings), "each was asked once: {pings} PINGs, {most} connections");
    let error = upstream.call(2, call("hello")).await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Gateway));

    proxy.forget_all(false);
    eventually("it is in use again", || state(&upstream, &proxy.url()) == EndpointState::Up).await;
}

#[tokio::test]
async fn of_two_endpoints_the_one_that_hangs_gets_no_calls() {
    let served = Arc::new(AtomicUsize::new(0));
    let counting = handler({
        let served = Arc::clone(&served);
        move |received| {
            served.fetch_add(1, Ordering::SeqCst);
            async move { Ok(received.message) }
        }
    });
    let sound = Server::start(Setup::new(echo()));
    let hung = Server::start(Setup::new(counting));
    let proxy = Proxy::start(hung.address).await;
    let upstream = upstream(&[&sound.url(), &proxy.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    eventually("both are used", || served.load(Ordering::SeqCst) > 5).await;
    let broken = Instant::now();
    proxy.forget_all(true);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(state(&upstream, &sound.url()), EndpointState::Up);
    assert_ne!(state(&upstream, &proxy.url()), EndpointState::Up);
    assert!(proxy.accepted() <= 6, "{} connections", proxy.accepted());
    let before = served.load(Ordering::SeqCst);
    proxy.forget_all(false);
    eventually("it is used again", || served.load(Ordering::SeqCst) > before + 5).await;
    let calls = load.stop().await;
    assert!(time_to_heal("one of two endpoints hangs", &calls, broken) < Duration::from_secs(5));
    let failed = calls.iter().filter(|call| call.result.is_err()).count();
    assert!(failed < 40, "{failed} of {} failed", calls.len());
}

/// Hangs while `hung` is set. The HTTP/2 layer goes on: it answers PINGs.
fn hangs(hung: &Arc<AtomicBool>, served: &Arc<AtomicUsize>) -> Handler {
    let (hung, served) = (Arc::clone(hung), Arc::clone(served));
    handler(move |Received { message, .. }| {
        let hangs = hung.load(Ordering::SeqCst);
        served.fetch_add(usize::from(!hangs), Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(message)
        }
    })
}

#[tokio::test]
async fn a_service_whose_handlers_hang_is_ejected_and_tried_again_one_call_at_a_time() {
    let (hung, served) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let sound = Server::start(Setup::new(echo()));
    let deadlocked = Server::start(Setup::new(hangs(&hung, &served)));
    let upstream = upstream(&[&sound.url(), &deadlocked.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    eventually("both are used", || served.load(Ordering::SeqCst) > 5).await;
    let broken = Instant::now();
    hung.store(true, Ordering::SeqCst);
    let ejected = || state(&upstream, &deadlocked.url()) == EndpointState::Ejected;
    eventually("it is ejected", ejected).await;
    // The ejection ends, a call is tried, and it is ejected again.
    eventually("it is ejected again", || upstream.counts().ejections == 2).await;
    let before = served.load(Ordering::SeqCst);
    let tried = Instant::now();
    hung.store(false, Ordering::SeqCst);
    while served.load(Ordering::SeqCst) <= before + 5 {
        assert!(tried.elapsed() < Duration::from_secs(15), "it is not in use again");
        sleep(Duration::from_millis(50)).await;
    }
    let calls = load.stop().await;
    let first = |call: &&Made| call.sent < broken + Duration::from_secs(4);
    let failed = calls.iter().filter(|call| call.result.is_err());
    let (early, late): (Vec<_>, Vec<_>) = failed.partition(first);
    println!("handlers that hang: {} calls failed at once, {} on trial", early.len(), late.len());
    assert!((3..40).contains(&early.len()), "{}", early.len());
    assert!(late.len() <= 2, "{} on trial", late.len());
    assert!(deadlocked.accepted.load(Ordering::SeqCst) <= 8, "no storm of connections");
}

/// Servers of some implementations end a call themselves when its time is over,
/// and may be a little faster at it.
#[tokio::test]
async fn a_server_that_says_by_itself_that_the_time_is_over_has_not_answered() {
    let sound = Server::start(Setup::new(echo()));
    let deadlocked = Server::start(Setup::new(handler(|_| async {
        sleep(TIMEOUT.mul_f64(0.98)).await;
        Err(Status::deadline_exceeded("by the server's own clock"))
    })));
    let upstream = upstream(&[&sound.url(), &deadlocked.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    let ejected = || state(&upstream, &deadlocked.url()) == EndpointState::Ejected;
    eventually("it is ejected", ejected).await;
    let calls = load.stop().await;
    assert!(calls.iter().any(|call| call.result.is_ok()));
}

#[tokio::test]
async fn the_only_service_whose_handlers_hang_is_known_for_it_not_stormed_and_used_at_once() {
    let (hung, served) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let server = Server::start(Setup::new(hangs(&hung, &served)));
    let upstream = upstream(&[&server.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    let unresponsive = || state(&upstream, &server.url()) == EndpointState::Unresponsive;
    eventually("it is known", unresponsive).await;
    sleep(Duration::from_secs(8)).await;
    let accepted = server.accepted.load(Ordering::SeqCst);
    assert!((3..=12).contains(&accepted), "{accepted} connections in eight seconds");
    assert_eq!(upstream.counts().ejections, 0);

    hung.store(false, Ordering::SeqCst);
    let back = Instant::now();
    eventually("it is used", || served.load(Ordering::SeqCst) > 5).await;
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    eventually("it is up", || state(&upstream, &server.url()) == EndpointState::Up).await;
    let calls = load.stop().await;
    assert!(calls.iter().filter(|call| call.sent > back).all(|call| call.result.is_ok()));
}

/// Answers `slow` after a while and everything else at once.
fn partly_slow(slow: Duration) -> Handler {
    handler(move |Received { message, .. }| async move {
        if message == "slow" {
            sleep(slow).await;
        }
        Ok(message)
    })
}

#[tokio::test]
async fn a_slow_method_among_quick_ones_is_no_hung_service() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(60))));
    let other = Server::start(Setup::new(partly_slow(Duration::from_secs(60))));
    let upstream = upstream(&[&server.url(), &other.url()]);
    up(&upstream).await;
    let load = Load::start(&upstream);
    let slow: Vec<_> = (0..40).map(|_| tokio::spawn(upstream.call(0, routed("slow")))).collect();
    for call in slow {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.status.code(), Code::DeadlineExceeded);
    }
    sleep(Duration::from_secs(1)).await;
    let calls = load.stop().await;
    assert!(calls.iter().all(|call| call.result.is_ok()));
    let counts = upstream.counts();
    assert_eq!((counts.ejections, counts.replacements, counts.connects), (0, 0, 4));
}

#[tokio::test]
async fn a_slow_method_alone_is_asked_about_and_left_to_its_work() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(5))));
    let proxy = Proxy::start(server.address).await;
    let upstream = upstream(&[&proxy.url()]);
    up(&upstream).await;
    let begun = proxy.pings();
    let patient = Call { timeout: Duration::from_secs(60), ..call("slow") };
    assert_eq!(upstream.call(0, patient).await.unwrap(), "slow");
    assert_eq!(proxy.pings() - begun, 1, "one PING is enough");
    assert_eq!((proxy.accepted(), upstream.counts().replacements), (2, 0));
}

#[tokio::test]
async fn a_callers_own_hurry_says_nothing_about_the_service() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(5))));
    let upstream = upstream(&[&server.url()]);
    up(&upstream).await;
    for _ in 0..10 {
        let hurried = Call { timeout: Duration::from_millis(50), hurried: true, ..call("slow") };
        let error = upstream.call(0, hurried).await.unwrap_err();
        assert_eq!(error.status.code(), Code::DeadlineExceeded);
    }
    assert_eq!(state(&upstream, &server.url()), EndpointState::Up);
    assert_eq!(upstream.counts().replacements, 0);
}

#[tokio::test]
async fn a_server_that_answers_calls_and_no_ping_is_left_alone() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(4))));
    let proxy = Proxy::start(server.address).await;
    proxy.drop_pings();
    let upstream = upstream(&[&proxy.url()]);
    let patient = |message| Call { timeout: Duration::from_secs(20), ..call(message) };
    assert_eq!(upstream.call(0, patient("hello")).await.unwrap(), "hello");
    let slow: Vec<_> = (0..4).map(|_| tokio::spawn(upstream.call(0, patient("slow")))).collect();
    for call in slow {
        assert_eq!(call.await.unwrap().unwrap(), "slow");
    }
    eventually("both connections are there", || upstream.status()[0].connections == 2).await;
    assert_eq!((proxy.accepted(), proxy.pings()), (2, 2), "each was asked once, at its beginning");
    assert_eq!(upstream.counts().replacements, 0);
}

#[tokio::test]
async fn a_server_that_stops_answering_pings_keeps_its_calls_for_a_while() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(5))));
    let proxy = Proxy::start(server.address).await;
    let config = Config { connections: 1, ..config(&[&proxy.url()]) };
    let upstream = Arc::new(Upstream::new(config, 1).unwrap());
    ask(&upstream, "hello").await.unwrap();
    proxy.drop_pings();
    let patient = Call { timeout: Duration::from_secs(20), ..call("slow") };
    let slow = tokio::spawn(upstream.call(0, patient));
    eventually("another connection is made", || proxy.accepted() == 2).await;
    assert_eq!(slow.await.unwrap().unwrap(), "slow", "and yet the old one's call is answered");
}

#[tokio::test]
async fn calls_on_a_dead_connection_do_not_wait_for_ever() {
    let server = Server::start(Setup::new(partly_slow(Duration::from_secs(60))));
    let proxy = Proxy::start(server.address).await;
    let upstream = upstream(&[&proxy.url()]);
    up(&upstream).await;
    let patient = Call { timeout: Duration::from_secs(60), ..call("slow") };
    let begun = Instant::now();
    let slow = tokio::spawn(upstream.call(0, patient));
    sleep(Duration::from_millis(200)).await;
    proxy.forget();
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert!(error.status.message().contains("nothing was received for"), "{error}");
    println!("a call on a dead connection was given up after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn calls_whose_clients_have_left_are_evidence_too() {
    let hung = Arc::new(AtomicBool::new(true));
    let server = Server::start(Setup::new(hangs(&hung, &Arc::default())));
    let upstream = upstream(&[&server.url()]);
    up(&upstream).await;
    for _ in 0..5 {
        let call = tokio::spawn(upstream.call(0, routed("hello")));
        sleep(Duration::from_millis(20)).await;
        call.abort();
    }
    let unresponsive = || state(&upstream, &server.url()) == EndpointState::Unresponsive;
    eventually("it is known", unresponsive).await;
}
