//! `bridgehead kick`.

use serde_json::json;

use crate::support::{Demo, assert_fails, json, text};

#[test]
fn a_session_that_is_kicked_is_told_why() {
    let demo = Demo::start();
    let alice = demo.listen("alice", &[]);
    let kicked = demo.run(&["kick", "--user", "alice", "--reason", "spam"]);
    assert_eq!(text(&kicked), "kicked 1 session\n");
    let (code, error) = alice.end();
    assert_eq!(code, Some(1));
    assert!(error.contains("3005") && error.contains("spam"), "{error}");
    let again = demo.run(&["kick", "--user", "alice", "--output", "json"]);
    assert_eq!(json(&again), json!({"kicked": 0}));
}

#[test]
fn nobody_is_kicked_who_is_not_named() {
    let demo = Demo::start();
    let _alice = demo.listen("alice", &[]);
    assert_fails(&demo.run(&["kick"]), 64, "no session is named");
    let too_long = "x".repeat(124);
    let output = demo.run(&["kick", "--everyone", "--reason", &too_long]);
    assert_fails(&output, 64, "it has 124 bytes; it must have 123 at most");
    assert!(text(&demo.run(&["sessions"])).contains("alice"));
}
