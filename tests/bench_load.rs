//! `bridgehead bench call` and `bench idle`: the real binary against the real
//! gateway, with a service behind it that counts its calls.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bridgehead::proto::demo::relation_service_server::{RelationService, RelationServiceServer};
use bridgehead::proto::demo::{self, CommonResp, GetFriendListReq, GetFriendListResp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[path = "support/gateway.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gateway;

use gateway::{BRIDGEHEAD, Gateway};

const METHOD: &str = "/v1/relation/getFriendList";
/// Longer than any test may take.
const LONG: &str = "10m";
/// How long the first call of a service that stalls takes.
const STALL: Duration = Duration::from_millis(500);

/// Counts its calls. The page's number selects the answer.
#[derive(Clone, Default)]
struct Counting {
    calls: Arc<AtomicU64>,
    users: Arc<Mutex<BTreeSet<String>>>,
}

/// Page numbers with a special answer.
const NOT_FOUND: i32 = 1;
const TOAST: i32 = 2;
const STALLS_FIRST: i32 = 3;

#[tonic::async_trait]
impl RelationService for Counting {
    async fn get_friend_list(
        &self,
        request: Request<GetFriendListReq>,
    ) -> Result<Response<GetFriendListResp>, Status> {
        let GetFriendListReq { common_req, page, .. } = request.into_inner();
        let nth = self.calls.fetch_add(1, Ordering::Relaxed);
        self.users.lock().insert(common_req.unwrap_or_default().user_id);
        let mut common_resp = CommonResp::default();
        match page.unwrap_or_default().page {
            NOT_FOUND => return Err(Status::not_found("nobody")),
            TOAST => {
                common_resp.code = demo::common_resp::Code::ToastError.into();
                common_resp.msg = Some("not today".to_owned());
            }
            STALLS_FIRST if nth == 0 => tokio::time::sleep(STALL).await,
            _ => {}
        }
        Ok(Response::new(GetFriendListResp { common_resp: Some(common_resp), ids: Vec::new() }))
    }
}

/// A gateway, and the service behind it.
struct Setting {
    gateway: Gateway,
    service: Counting,
    _services: Runtime,
    _descriptors: TempDir,
}

fn start(session: &Value) -> Setting {
    let services = Runtime::new().unwrap();
    let service = Counting::default();
    let listener = services.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(RelationServiceServer::new(service.clone()));
    services.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let descriptors = tempfile::tempdir().unwrap();
    let set = descriptors.path().join("demo.binpb");
    std::fs::write(&set, demo::FILE_DESCRIPTOR_SET).unwrap();
    let mut config = json!({
        "edge": { "listen": "127.0.0.1:0" },
        "session": { "private_key": "session.pem" },
        "auth": { "none": {} },
        "upstreams": { "relation": {
            "address": format!("http://{address}"),
            "descriptors": [set],
            "timeout": "60s",
            "routes": { METHOD: "pb.relationService/GetFriendList" },
        } },
        "push": { "listen": "127.0.0.1:0" },
        "drain": { "delay": "0s", "period": "0s" },
        "log": { "format": "json" },
    });
    config["session"].as_object_mut().unwrap().extend(session.as_object().unwrap().clone());
    let gateway = Gateway::start(&config);
    Setting { gateway, service, _services: services, _descriptors: descriptors }
}

impl Setting {
    fn command(&self, what: &str, arguments: &[&str]) -> Command {
        let pid = self.gateway.pid().to_string();
        let mut command = Command::new(BRIDGEHEAD);
        command.args(["bench", what]).args(arguments);
        command.args(["--url", &self.gateway.url, "--pid", &pid, "--json", "--timeout", "60s"]);
        // Where routes.yaml is, which describes the method, and the keys.
        command.current_dir(self.gateway.folder());
        command
    }

    #[track_caller]
    fn report(&self, what: &str, arguments: &[&str]) -> Value {
        let output = self.command(what, arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{error}");
        assert_eq!(error, "");
        report(&output)
    }

    /// Requests of a method that succeeds, from the first one on.
    #[track_caller]
    fn call(&self, arguments: &[&str]) -> Value {
        self.report("call", &[&[METHOD, "--warmup", "0s"], arguments].concat())
    }

    fn calls(&self) -> u64 {
        self.service.calls.load(Ordering::Relaxed)
    }

    /// Ends the session of a user as soon as there is one, and waits for the end
    /// of the bench that it belongs to.
    fn kick(&self, user: &str, mut bench: Child) -> Output {
        let kick = || {
            let mut command = Command::new(BRIDGEHEAD);
            command.args(["kick", "--user", user, "--push-url", &self.gateway.push_url]);
            command.output().unwrap()
        };
        while !String::from_utf8_lossy(&kick().stdout).contains('1') {
            assert!(bench.try_wait().unwrap().is_none(), "it has ended before");
            std::thread::sleep(Duration::from_millis(50));
        }
        bench.wait_with_output().unwrap()
    }
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn are_positive(report: &Value, paths: &[&str]) {
    for path in paths {
        let number = report.pointer(path).and_then(Value::as_f64).unwrap_or_default();
        assert!(number > 0.0, "{path} in {report:#}");
    }
}

#[track_caller]
fn nothing_went_wrong(report: &Value) {
    for count in ["connections_lost", "unanswered", "unexpected_answers", "unsent"] {
        assert_eq!(report[count], 0, "{count} in {report:#}");
    }
}

#[test]
fn so_many_requests_are_so_many_calls_and_answers() {
    let setting = start(&json!({}));
    let connections = ["--connections", "20", "--in-flight", "4"];
    let report = setting.call(&[&connections[..], &["--requests", "2001"]].concat());
    assert_eq!((report["requests"].as_u64(), setting.calls()), (Some(2001), 2001));
    assert_eq!(report["codes"], json!({ "0": 2001 }));
    assert_eq!(setting.service.users.lock().len(), 20, "each connection has its own user");
    nothing_went_wrong(&report);
    assert_eq!(report["method"], METHOD);
    assert_eq!((&report["connections"], &report["in_flight"]), (&json!(20), &json!(4)));
    assert_eq!((&report["rate"], &report["encrypted"]), (&Value::Null, &json!(false)));
    are_positive(
        &report,
        &[
            "/seconds",
            "/requests_per_second",
            "/latency_us/mean",
            "/gateway/pid",
            "/gateway/cpu_seconds",
            "/gateway/cpu_us_per_request",
            "/gateway/resident_bytes",
            "/gateway/peak_resident_bytes",
            "/generator/cpu_seconds",
            "/generator/cpu_us_per_request",
        ],
    );
    let latencies = ["p50", "p90", "p99", "p99_9", "max"]
        .map(|name| report["latency_us"][name].as_f64().unwrap());
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{latencies:?}");
    assert!(report["first_failure"].is_null() && report["warnings"].is_array());
}

#[test]
fn threads_share_the_requests_and_encrypted_sessions_work_alike() {
    let setting = start(&json!({}));
    let report = setting.call(&[
        "--requests",
        "1000",
        "--connections",
        "7",
        "--in-flight",
        "16",
        "--threads",
        "3",
        "--encrypt",
        "session.pub.pem",
    ]);
    assert_eq!((report["requests"].as_u64(), setting.calls()), (Some(1000), 1000));
    assert_eq!(report["encrypted"], true);
    assert_eq!(setting.service.users.lock().len(), 7);
    nothing_went_wrong(&report);
}

#[test]
fn the_warm_up_is_not_measured() {
    let setting = start(&json!({}));
    let arguments =
        ["--warmup", "300ms", "--duration", "300ms", "--connections", "4", "--in-flight", "2"];
    let report = setting.report("call", &[&[METHOD], &arguments[..]].concat());
    nothing_went_wrong(&report);
    let measured = report["requests"].as_u64().unwrap();
    assert!(measured > 0 && measured < setting.calls(), "{measured} of {}", setting.calls());
    assert_eq!(report["codes"], json!({ "0": measured }));
}

#[test]
fn at_a_fixed_rate_requests_are_spread_over_the_time() {
    let setting = start(&json!({}));
    let report = setting.call(&["--rate", "200", "--requests", "300", "--connections", "10"]);
    assert_eq!((report["requests"].as_u64(), setting.calls()), (Some(300), 300));
    assert_eq!((&report["rate"], &report["in_flight"]), (&json!(200.0), &json!(128)));
    // The last is due after 299/200 s, and no sooner.
    assert!(report["seconds"].as_f64().unwrap() >= 1.495, "{report:#}");
    nothing_went_wrong(&report);
}

#[test]
fn a_stall_counts_for_all_requests_that_were_due_meanwhile() {
    let setting = start(&json!({}));
    let request = json!({ "page": { "page": STALLS_FIRST } }).to_string();
    let arguments =
        ["--rate", "200", "--requests", "100", "--connections", "1", "--in-flight", "1"];
    let stalled = setting.call(&[&[request.as_str()], &arguments[..]].concat());
    assert_eq!(stalled["requests"], 100);
    // The nth was due after 5n ms and could not be sent before 500 ms: half of
    // them have waited for longer than 250 ms, though only one call was slow.
    let p50 = stalled["latency_us"]["p50"].as_f64().unwrap();
    assert!(p50 >= 245_000.0, "{stalled:#}");
    assert!(stalled["latency_us"]["max"].as_f64().unwrap() >= 499_000.0, "{stalled:#}");
}

#[test]
fn requests_that_a_rate_leaves_behind_are_not_left_out() {
    let setting = start(&json!({}));
    let request = json!({ "page": { "page": STALLS_FIRST } }).to_string();
    let arguments = ["--rate", "1000", "--duration", "200ms", "--connections", "1"];
    let call = [METHOD, &request, "--warmup", "0s", "--in-flight", "1"];
    let output = setting.command("call", &[&call, &arguments[..]].concat()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("no request was answered in the time"), "{error}");
    let report = report(&output);
    // The first call outlasts the time, and none other was sent.
    assert_eq!((report["unsent"].as_u64(), setting.calls()), (Some(199), 1));
    assert_eq!(report["requests"], 0);
    assert!(report["latency_us"]["p50"].as_f64().unwrap() >= 95_000.0, "{report:#}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("199 could not be sent"), "{warnings}");
    assert!(warnings.contains("the rate was not kept"), "{warnings}");
}

#[test]
fn failures_are_counted_by_their_codes() {
    let setting = start(&json!({}));
    for (page, code, msg) in [(NOT_FOUND, "3", ""), (TOAST, "5", "not today")] {
        let request = json!({ "page": { "page": page } }).to_string();
        let report = setting.call(&[&request, "--requests", "50", "--connections", "5"]);
        assert_eq!(report["codes"], json!({ code: 50 }));
        assert_eq!(report["first_failure"]["msg"], msg);
        assert!(report["warnings"].to_string().contains("no answer was a Success"), "{report:#}");
    }
    // An unknown method can still be called with bytes; the gateway refuses it.
    let unknown = ["/v1/nothing", "--hex", "0a00", "--requests", "20", "--warmup", "0s"];
    let report = setting.report("call", &unknown);
    assert_eq!((&report["codes"], setting.calls()), (&json!({ "3": 20 }), 100));
}

#[test]
fn connections_that_are_lost_are_failures() {
    let setting = start(&json!({}));
    // It ends as soon as there are no sessions left.
    let arguments = [METHOD, "--connections", "1", "--duration", LONG, "--warmup", "0s"];
    let mut command = setting.command("call", &arguments);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = setting.kick("bench-0", running);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("connections lost: 1 (the first connection: "), "{error}");
    assert!(error.contains("3005"), "{error}");
    assert_eq!(report(&output)["connections_lost"], 1);
}

#[test]
fn what_cannot_be_used_is_told_before_anything_is_sent() {
    let setting = start(&json!({}));
    for (what, arguments, says) in [
        ("call", &["/v1/relation/getFriendLst"][..], "did you mean `/v1/relation/getFriendList`?"),
        ("call", &[METHOD, r#"{"pag": {}}"#], "has the fields"),
        ("call", &[METHOD, "--rate", "0"], "it must be more than 0"),
        ("call", &[METHOD, "--rate", "fast"], "it is not a number"),
        ("call", &[METHOD, "--duration", "0s"], "it must be longer than 0s"),
        ("call", &[METHOD, "--duration", "5"], "--duration"),
        ("call", &[METHOD, "--requests", "5", "--duration", "5s"], "cannot be used with"),
        ("call", &[METHOD, "--connections", "0"], "--connections"),
        ("call", &[METHOD, "--connections", "900000"], "ulimit -Hn"),
        ("call", &[METHOD, "{}", "--hex", "00"], "cannot be used with"),
        ("call", &[METHOD, "--encrypt", "nothing.pem"], "cannot read nothing.pem"),
        ("call", &[], "<METHOD>"),
        ("idle", &["--burst", "0B"], "it must be 1 byte at least"),
        ("idle", &["--burst", "1M"], "such as `1MiB`"),
        ("idle", &["--settle", "1s"], "--burst"),
        ("idle", &["--sessions", "900000"], "ulimit -Hn"),
    ] {
        let output = setting.command(what, arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let mut command = Command::new(BRIDGEHEAD);
    let nowhere = command.args(["bench", "idle", "--pid", "4000000000"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(64));
    assert_eq!(setting.calls(), 0);
}

#[test]
fn idle_sessions_are_there_and_what_they_cost_is_told() {
    // Pings come all the time, and a client that does not answer them is closed.
    let setting = start(&json!({ "ping_interval": "300ms", "pong_timeout": "10s" }));
    let arguments = ["--sessions", "300", "--hold", "1500ms", "--encrypt", "session.pub.pem"];
    let report = setting.report("idle", &arguments);
    assert_eq!((&report["sessions"], &report["encrypted"]), (&json!(300), &json!(true)));
    assert_eq!(report["sessions_lost"], 0);
    are_positive(
        &report,
        &[
            "/open_seconds",
            "/handshakes_per_second",
            "/gateway/pid",
            "/gateway/cpu_us_per_handshake",
            "/gateway/handshakes_per_cpu_second",
            "/gateway/resident_before_bytes",
            "/gateway/resident_bytes",
            "/gateway/resident_bytes_per_session",
            "/gateway/resident_after_hold_bytes",
            "/generator/cpu_us_per_handshake",
        ],
    );
    assert!(report["gateway"]["kernel_bytes_per_session"].is_number());
    assert!(report["gateway"]["resident_after_burst_bytes"].is_null());
    assert!(report["warnings"].to_string().contains("300 sessions are few"), "{report:#}");
}

#[test]
fn a_burst_goes_over_every_session_once() {
    let setting = start(&json!({}));
    let hold = ["--hold", "0s", "--settle", "0s", "--sessions", "40"];
    let report = setting.report("idle", &[&hold[..], &["--burst", "300KiB"]].concat());
    let burst = &report["burst"];
    assert_eq!((&burst["requests_per_session"], &burst["answers"]), (&json!(1), &json!(40)));
    assert!(burst["bytes_per_session"].as_u64().unwrap() >= 300 << 10, "{burst}");
    assert_eq!((&burst["failures"], &burst["unanswered"]), (&json!(0), &json!(0)));
    are_positive(&report, &["/gateway/resident_after_burst_bytes"]);
    let calls = ["--burst", "1KiB", "--burst-method", METHOD, "--encrypt", "session.pub.pem"];
    let report = setting.report("idle", &[&hold[..], &calls].concat());
    let each = report["burst"]["requests_per_session"].as_u64().unwrap();
    assert!(each > 5, "{report:#}");
    assert_eq!(report["burst"]["answers"], 40 * each);
    assert_eq!(setting.calls(), 40 * each);
}

#[test]
fn sessions_that_are_lost_while_they_are_held_are_failures() {
    let setting = start(&json!({}));
    let mut command = setting.command("idle", &["--sessions", "5", "--hold", "5s"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = setting.kick("bench-3", running);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("sessions lost: 1 (the first: ") && error.contains("3005"), "{error}");
}
