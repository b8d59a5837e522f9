//! The demo's users talk to each other: every message goes through the gateway
//! to a service, and back through its Push API.

use std::process::Output;

use serde_json::json;

use crate::support::{Demo, json};

const SEND: &str = "/v1/msg/sendMsgList";

fn send(demo: &Demo, user: &str, conversation: &str, contents: &[&str]) -> Output {
    let message = |content: &&str| json!({"convId": conversation, "content": content});
    let list = json!({"msgDataList": contents.iter().map(message).collect::<Vec<_>>()});
    demo.call(&[SEND, &list.to_string(), "--user", user, "--token", "any"])
}

#[test]
fn what_bob_writes_reaches_alice_and_can_be_read() {
    let demo = Demo::start();
    let mut alice = demo.listen("alice", &[]);
    // "hi" and "there", in base64.
    let answer = send(&demo, "bob", "alice:bob", &["aGk=", "dGhlcmU="]);
    assert_eq!(json(&answer)["commonResp"]["code"], "Success");
    let push = alice.json();
    assert_eq!(push["event"], "PushMsgDataList");
    assert_eq!(push["text"], "hi\nthere");
    let messages = &push["data"]["msgDataList"];
    assert_eq!((&messages[0]["senderId"], &messages[0]["seq"]), (&json!("bob"), &json!("1")));
    assert_eq!(messages[1]["convId"], "alice:bob");
}

#[test]
fn the_hint_of_the_demo_brings_a_message_to_alice() {
    let demo = Demo::start();
    let mut alice = demo.listen("alice", &[]);
    let hint = |has: &str| demo.hints.iter().find(|hint| hint.contains(has)).unwrap();
    for (hint, text) in [(hint(SEND), "hi"), (hint(" push "), "hello")] {
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", hint]).current_dir(demo.folder.path()).output().unwrap();
        assert!(output.status.success(), "{hint}");
        assert_eq!(alice.json()["text"], text);
    }
}

#[test]
fn only_members_hear_it_and_a_room_is_everybodys() {
    let demo = Demo::start();
    let mut listeners = ["alice", "carol"].map(|user| demo.listen(user, &[]));
    json(&send(&demo, "bob", "alice:bob", &["MQ=="]));
    json(&send(&demo, "bob", "lobby", &["Mg=="]));
    let [alice, carol] = &mut listeners;
    assert_eq!(alice.json()["text"], "1");
    assert_eq!(alice.json()["text"], "2");
    assert_eq!(carol.json()["text"], "2");
}

#[test]
fn the_sender_hears_it_on_other_devices_but_not_on_the_one_that_wrote() {
    let demo = Demo::start();
    let mut other = demo.listen("bob", &["--device", "other"]);
    let list = json!({"msgDataList": [{"convId": "alice:bob", "content": "MQ=="}]}).to_string();
    let talk = ["call", SEND, &list, "--user", "bob", "--device", "one", "--listen"];
    let mut one = crate::support::Running::start(&mut demo.command(&talk));
    assert_eq!(other.json()["text"], "1");
    // The answer in several lines; then the first push is the second message.
    while one.line() != "}" {}
    json(&send(&demo, "carol", "bob:carol", &["Mg=="]));
    assert_eq!(one.json()["text"], "2");
}
