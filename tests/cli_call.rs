//! `bridgehead call` as people use it: the real binary against `bridgehead
//! demo`, in a folder where nothing else is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const BRIDGEHEAD: &str = env!("CARGO_BIN_EXE_bridgehead");

/// A running demo, and a folder to call it from.
struct Demo {
    process: Child,
    folder: TempDir,
    url: String,
    /// The commands that it proposes.
    hints: Vec<String>,
    public_key: PathBuf,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(BRIDGEHEAD)
            .args(["demo", "--listen", "127.0.0.1:0", "--services", "127.0.0.1:0", "--key-dir"])
            .arg(folder.path().join("keys"))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut hints = Vec::new();
        for line in printed.map_while(Result::ok) {
            if line.contains(" call /v1/") {
                hints.push(line.trim().to_owned());
            } else if line.contains("Ctrl-C") {
                break;
            }
        }
        let (_, url) = hints[0].split_once("--url ").unwrap();
        let url = url.to_owned();
        let public_key = folder.path().join("keys/session.pub.pem");
        Self { process, folder, url, hints, public_key }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BRIDGEHEAD);
        command.arg("call").args(arguments).args(["--url", &self.url]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a call that listens, and waits until its answer is there.
    fn listen(&self) -> (Child, BufReader<ChildStdout>) {
        let mut command = self.command(&["/v1/conn/keepAlive", "--user", "zoe", "--listen"]);
        let mut listener = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(listener.stdout.take().unwrap());
        let mut answer = String::new();
        out.read_line(&mut answer).unwrap();
        assert_eq!(answer, "{}\n");
        (listener, out)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", error(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", error(output));
    assert!(error(output).contains(says), "{}", error(output));
    assert!(output.stdout.is_empty());
}

fn signal(process: &Child, signal: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn the_demos_hints_work_when_they_are_pasted() {
    let demo = Demo::start();
    assert!(demo.hints.iter().any(|hint| hint.contains("--encrypt")), "{:?}", demo.hints);
    for hint in &demo.hints {
        let output =
            Command::new("sh").args(["-c", hint]).current_dir(demo.folder.path()).output().unwrap();
        assert_eq!(json(&output)["commonResp"]["code"], "Success", "{hint}");
    }
}

#[test]
fn answers_are_the_same_plain_and_encrypted() {
    let demo = Demo::start();
    let friends =
        ["/v1/relation/getFriendList", r#"{"page": {"page": 1, "size": 2}}"#, "--user", "alice"];
    let plain = json(&demo.call(&friends));
    assert_eq!(plain["ids"], json!(["bob", "carol"]));
    let mut encrypted = friends.to_vec();
    encrypted.extend(["--encrypt", demo.public_key.to_str().unwrap()]);
    assert_eq!(json(&demo.call(&encrypted)), plain);
}

#[test]
fn a_refusal_is_told_and_exits_with_1() {
    let demo = Demo::start();
    assert_fails(&demo.call(&["/v1/relation/getFriendList"]), 1, "AuthError: not logged in");
    let no_password = demo.call(&["/v1/user/white/login", r#"{"id": "zoe"}"#]);
    assert_fails(&no_password, 1, "ToastError: Enter a password");
}

#[test]
fn a_session_that_is_closed_is_explained() {
    let demo = Demo::start();
    let keep_alive = "/v1/conn/keepAlive";
    assert_fails(
        &demo.call(&[keep_alive, "--platform", "vax"]),
        1,
        "3002: the platform is missing",
    );
    let no_device = demo.call(&[keep_alive, "--user", "zoe", "--device", ""]);
    assert_fails(&no_device, 1, "3003: the device id is missing");
}

#[test]
fn another_gateways_key_is_told_to_be_so() {
    let demo = Demo::start();
    for (bits, says) in [("2048", "do not decrypt"), ("3072", "3001")] {
        let out = demo.folder.path().join(format!("{bits}.pem"));
        let keygen = ["keygen", "--bits", bits, "--out", out.to_str().unwrap()];
        assert!(Command::new(BRIDGEHEAD).args(keygen).output().unwrap().status.success());
        let public = out.with_extension("pub.pem");
        let arguments = ["/v1/conn/keepAlive", "--encrypt", public.to_str().unwrap()];
        assert_fails(&demo.call(&arguments), 1, says);
        assert_fails(&demo.call(&arguments), 1, "help: --encrypt needs the public key");
    }
}

#[test]
fn what_cannot_be_called_exits_with_64() {
    let demo = Demo::start();
    assert_fails(&demo.call(&["/v1/user/white/logn"]), 64, "did you mean `/v1/user/white/login`?");
    assert_fails(&demo.call(&["/v1/user/white/login", r#"{"name": 1}"#]), 64, "no pb.LoginReq");
    assert_fails(&demo.call(&["/v1/conn/keepAlive", "--header", "x"]), 64, "no colon");
    assert_fails(&demo.call(&["/v1/conn/keepAlive", "--ca", "none.pem"]), 64, "none.pem");
    assert_fails(&demo.call(&["/v1/conn/keepAlive", "-c", "none.yaml"]), 64, "none.yaml");
}

#[test]
fn a_gateway_that_is_not_there_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = Command::new(BRIDGEHEAD)
        .args(["call", "/v1/conn/keepAlive", "--url", &format!("ws://{nobody}/ws")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_fails(&output, 1, "is the gateway running? Start one with `bridgehead demo`");
}

#[test]
fn a_path_that_is_no_websocket_is_explained() {
    let demo = Demo::start();
    let url = demo.url.replace("/ws", "/nothing");
    let output = Command::new(BRIDGEHEAD)
        .args(["call", "/v1/conn/keepAlive", "--url", &url])
        .current_dir(demo.folder.path())
        .output()
        .unwrap();
    assert_fails(&output, 1, "404");
}

#[test]
fn listening_ends_well_with_ctrl_c() {
    let demo = Demo::start();
    let (mut listener, _out) = demo.listen();
    signal(&listener, "-INT");
    assert_eq!(listener.wait().unwrap().code(), Some(0));
}

#[test]
fn listening_fails_when_the_gateway_stops() {
    let demo = Demo::start();
    let (mut listener, _out) = demo.listen();
    signal(&demo.process, "-INT");
    assert_eq!(listener.wait().unwrap().code(), Some(1));
    let mut error = String::new();
    listener.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(error.contains("1001: it is stopping"), "{error}");
}
