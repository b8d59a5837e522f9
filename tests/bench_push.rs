//! `bridgehead bench push` against the real gateway: ten thousand sessions, one
//! of which does not read.

#![allow(clippy::print_stderr, reason = "what was seen, for those that run it by hand")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

#[path = "support/gateway.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gateway;

use gateway::{BRIDGEHEAD, Gateway};

fn start() -> Gateway {
    Gateway::start(&json!({
        "edge": { "listen": "127.0.0.1:0" },
        "session": { "private_key": "session.pem" },
        "auth": { "none": {} },
        "upstreams": {},
        "push": { "listen": "127.0.0.1:0" },
        "drain": { "delay": "0s", "period": "0s" },
        "log": { "format": "json" },
    }))
}

fn bench(gateway: &Gateway, arguments: &[&str]) -> Output {
    let pid = gateway.pid().to_string();
    let mut command = Command::new(BRIDGEHEAD);
    command.args(["bench", "push", "--url", &gateway.url, "--push-url", &gateway.push_url]);
    command.args(["--pid", &pid, "--json", "--timeout", "30s"]).args(arguments);
    command.current_dir(gateway.folder()).output().unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{error}");
    serde_json::from_str(&text).unwrap()
}

/// The sessions that this machine lets a process have, 10,000 at most.
fn many() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum.map_or(10_000, |most| most - 500);
    if most < 10_000 {
        eprintln!("the limit of file descriptors leaves room for {most} sessions only");
    }
    most.min(10_000)
}

#[test]
fn ten_thousand_sessions_get_a_push_and_a_stalled_one_delays_nobody() {
    let gateway = start();
    let sessions = many();
    let arguments = ["--stalled", "1", "--rounds", "3", "--deadline", "20s"];
    let report = report(&bench(
        &gateway,
        &[&["--sessions", &sessions.to_string()], &arguments[..]].concat(),
    ));
    eprintln!("{report:#}");
    let readers = sessions - 1;
    assert_eq!(report["deliveries"], readers * 3);
    assert_eq!(report["receipts"], json!({ "WRITTEN": readers * 3 }));
    // Three small frames fit into the buffers of its socket.
    assert_eq!(report["stalled_receipts"], json!({ "WRITTEN": 3 }));
    let faults = report["faults"].as_object().unwrap();
    assert!(faults.values().all(|count| *count == 0), "{faults:?}");
    for path in [
        "/open_seconds",
        "/seconds",
        "/deliveries_per_second",
        "/last_receipt_ms/max",
        "/arrival_ms/p99",
        "/receipt_ms/p99",
        "/gateway/cpu_seconds",
        "/gateway/cpu_us_per_delivery",
        "/gateway/resident_bytes_before",
        "/gateway/resident_bytes_peak",
    ] {
        let number = report.pointer(path).and_then(Value::as_f64).unwrap_or_default();
        assert!(number > 0.0, "{path} in {report:#}");
    }
    // Far below the deadline, at which a stalled one would be given up.
    assert!(report["last_receipt_ms"]["max"].as_f64().unwrap() < 15_000.0, "{report:#}");
}

#[test]
fn a_session_that_does_not_read_acknowledges_nothing_and_delays_nobody() {
    let gateway = start();
    let report = report(&bench(
        &gateway,
        &[
            "--sessions",
            "50",
            "--stalled",
            "2",
            "--rounds",
            "2",
            "--confirm",
            "acknowledged",
            "--deadline",
            "3s",
            "--encrypt",
            "session.pub.pem",
        ],
    ));
    assert_eq!(report["receipts"], json!({ "ACKNOWLEDGED": 96 }));
    assert_eq!(report["stalled_receipts"], json!({ "EXPIRED": 4 }));
    assert!(report["receipt_ms"]["max"].as_f64().unwrap() < 2_500.0, "{report:#}");
    assert_eq!(report["encrypted"], true);
}

#[test]
fn sessions_that_are_kicked_meanwhile_are_losses() {
    let gateway = start();
    let kicker = Command::new(BRIDGEHEAD)
        .args(["bench", "push", "--sessions", "20", "--rounds", "65535", "--deadline", "1s"])
        .args(["--url", &gateway.url, "--push-url", &gateway.push_url, "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let kick = || {
        let mut command = Command::new(BRIDGEHEAD);
        command.args(["kick", "--user", "bench-7", "--push-url", &gateway.push_url]);
        command.output().unwrap()
    };
    while !String::from_utf8_lossy(&kick().stdout).contains('1') {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let output = kicker.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("sessions lost: 1 (the first: "), "{error}");
    assert!(error.contains("3005"), "{error}");
}
