//! `bridgehead call`.

use std::process::Command;

use serde_json::json;

use crate::support::{BRIDGEHEAD, Demo, assert_fails, json};

#[test]
fn the_demos_hints_work_when_they_are_pasted() {
    let demo = Demo::start();
    assert!(demo.hints.iter().any(|hint| hint.contains("--encrypt")), "{:?}", demo.hints);
    // Commands that listen do not end.
    for hint in demo.hints.iter().filter(|hint| hint.contains(" call /v1/")) {
        let output =
            Command::new("sh").args(["-c", hint]).current_dir(demo.folder.path()).output().unwrap();
        assert_eq!(json(&output)["commonResp"]["code"], "Success", "{hint}");
    }
}

#[test]
fn the_demo_can_be_asked_how_it_is() {
    let demo = Demo::start();
    let output = demo.run(&["health", "--url", &demo.readiness]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
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
    assert_fails(&demo.call(&["/v1/notes/list"]), 64, "there is no routes.yaml in this folder");
    assert_fails(
        &demo.call(&["/v1/conn/white/setUserParams"]),
        64,
        "help: it is sent for the login",
    );
    assert_fails(
        &demo.call(&["/v1/user/white/login", r#"{"name": 1}"#]),
        64,
        "not a valid pb.LoginReq",
    );
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
    assert_fails(&output, 1, "is the gateway running? `bridgehead serve` starts a gateway");
    assert_fails(&output, 1, "--url");
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
    let url = demo.url.trim_start_matches("ws://");
    let output = demo.call(&["/v1/conn/keepAlive", "--url", url]);
    assert_fails(&output, 64, "it does not begin with ws:// or wss://");
    let output = demo.call(&["/v1/conn/keepAlive", "--url", &demo.url.replace("ws://", "wss://")]);
    assert_fails(&output, 1, "the server does not speak TLS");
    assert_fails(&output, 1, "write ws:// instead of wss:// in --url");
}

#[test]
fn listening_ends_well_with_ctrl_c() {
    let demo = Demo::start();
    let listener = demo.listen("zoe", &[]);
    listener.interrupt();
    assert_eq!(listener.end().0, Some(0));
}

#[test]
fn listening_fails_when_the_gateway_stops() {
    let demo = Demo::start();
    let listener = demo.listen("zoe", &[]);
    demo.process.interrupt();
    let (code, error) = listener.end();
    assert_eq!(code, Some(1));
    assert!(error.contains("1001: it is stopping"), "{error}");
}
