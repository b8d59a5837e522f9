//! `bridgehead push`.

use serde_json::Value;

use crate::support::{Demo, assert_fails, bridgehead, error, run_with_input, text};

#[test]
fn each_session_and_each_user_who_is_not_there_has_a_receipt() {
    let demo = Demo::start();
    let mut phone = demo.listen("alice", &["--platform", "ios", "--device", "phone"]);
    let mut laptop = demo.listen("alice", &["--device", "laptop"]);
    let pushed = demo.run(&[
        "push",
        "--user",
        "alice,nobody",
        "--text",
        "hi",
        "--event",
        "notices",
        "--confirm",
        "acknowledged",
    ]);
    for listener in [&mut phone, &mut laptop] {
        let push = listener.json();
        assert_eq!((&push["event"], &push["text"]), (&"PushNoticeData".into(), &"hi".into()));
    }
    let receipts = text(&pushed);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut receipts: Vec<_> = receipts.lines().map(words).collect();
    receipts.sort();
    assert_eq!(receipts[0][..4], ["ACKNOWLEDGED", "alice", "ios", "phone"]);
    assert_eq!(receipts[1][..4], ["ACKNOWLEDGED", "alice", "web", "laptop"]);
    assert_eq!(receipts[2], ["OFFLINE", "nobody"]);
    assert!(error(&pushed).starts_with("2 acknowledged, 1 offline in "), "{}", error(&pushed));
}

#[test]
fn conditions_narrow_whom_it_reaches() {
    let demo = Demo::start();
    let _phone = demo.listen("alice", &["--platform", "ios"]);
    let _laptop = demo.listen("bob", &[]);
    let outcome = |arguments: &[&str]| {
        let output = demo.run(&[&["push", "--text", "x"], arguments].concat());
        text(&output).lines().count()
    };
    assert_eq!(outcome(&["--everyone"]), 2);
    assert_eq!(outcome(&["--everyone", "--platform", "ios"]), 1);
    assert_eq!(outcome(&["--platform", "ios,web"]), 2);
    assert_eq!(outcome(&["--platform", "android"]), 0);
}

#[test]
fn receipts_are_printed_as_json_too() {
    let demo = Demo::start();
    let _alice = demo.listen("alice", &["--device", "phone"]);
    let arguments = ["--user", "alice", "--text", "x", "--push-id", "order-1", "--output", "json"];
    let pushed = text(&demo.run(&[&["push"], &arguments[..]].concat()));
    let receipt: Value = serde_json::from_str(&pushed).unwrap();
    assert_eq!((&receipt["pushId"], &receipt["outcome"]), (&"order-1".into(), &"WRITTEN".into()));
    assert_eq!(receipt["session"]["deviceId"], "phone");
    assert_eq!(receipt["session"]["remoteIp"], "127.0.0.1");
}

#[test]
fn data_comes_in_several_notations() {
    let demo = Demo::start();
    let mut alice = demo.listen("alice", &[]);
    let file = demo.folder.path().join("data.bin");
    std::fs::write(&file, b"\x00\xff").unwrap();
    let push = |arguments: &[&str]| demo.command(&[&["push", "--user=alice"], arguments].concat());
    for arguments in [["--hex", "00ff"], ["--file", "data.bin"]] {
        text(&push(&[&arguments[..], &["--event", "77"]].concat()).output().unwrap());
        let got = alice.json();
        assert_eq!((&got["event"], &got["hex"]), (&77.into(), &"00ff".into()), "{arguments:?}");
    }
    text(&run_with_input(push(&["--file", "-", "--event", "77"]), b"piped"));
    assert_eq!(alice.json()["text"], "piped");
    let json = br#"{"msgDataList": [{"content": "aGk="}]}"#;
    text(&run_with_input(push(&["--json", "-", "--type", "pb.MsgDataList"]), json));
    assert_eq!(alice.json()["data"]["msgDataList"][0]["content"], "aGk=");
}

#[test]
fn what_is_required_decides_the_exit_code() {
    let demo = Demo::start();
    let _alice = demo.listen("alice", &[]);
    let push =
        |user, more: &[&str]| demo.run(&[&["push", "--text", "x", "--user", user], more].concat());
    assert_eq!(push("nobody", &[]).status.code(), Some(0));
    assert_eq!(push("alice", &["--require"]).status.code(), Some(0));
    let output = push("alice,nobody", &["--require"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("error: 1 receipt is not written"), "{}", error(&output));
    let nobody = demo.run(&["push", "--text", "x", "--platform", "linux", "--require"]);
    assert_fails(&nobody, 1, "no session is selected");
}

#[test]
fn what_cannot_be_pushed_exits_with_64_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["--text", "x"][..], "--everyone means every logged-in session"),
        (&["--text", "x", "--except-session", "s"], "no session is named"),
        (&["--user", "a"], "--text <TEXT>|--hex <HEX>|--file <PATH>|--json <JSON>"),
        (&["--user", "a", "--hex", "zz"], "not a hexadecimal digit"),
        (&["--user", "a", "--json", "{}", "--type", "pb.Msg"], "no message `pb.Msg` is known"),
        (&["--user", "a", "--text", "x", "--event", "loud"], "`messages` or `notices`"),
        (&["--user", "a", "--text", "x", "--push-url", "ws://a"], "expected a URL such as http://"),
        (&["--user", "a", "--text", "x", "--deadline", "5"], "--deadline"),
        (&["--user", "a", "--text", "x", "--event", "2"], "answers requests with event 2"),
        (&["--user", "a", "--text", "x", "--event", "3"], "the IV of a session with event 3"),
        (&["--user", "a", "--text", "x", "--push-id", &"x".repeat(257)], "it has 257 bytes"),
    ] {
        // There is no listener there: a failure to connect would be another exit code.
        let url = ["--push-url", "http://127.0.0.1:1"];
        let url = if arguments.contains(&"--push-url") { &[][..] } else { &url };
        let output = bridgehead(&[&["push"], url, arguments].concat(), folder.path());
        assert_fails(&{ output }.output().unwrap(), 64, says);
    }
}
