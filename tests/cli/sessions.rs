//! `bridgehead sessions`.

use std::io::BufRead as _;

use serde_json::Value;

use crate::support::{Demo, Running, error, text};

#[test]
fn the_sessions_are_a_table() {
    let demo = Demo::start();
    let _bob = demo.listen("bob", &["--device", "laptop"]);
    let encrypted = ["--platform", "ios", "--encrypt", demo.public_key.to_str().unwrap()];
    let _alice = demo.listen("alice", &encrypted);
    let printed = text(&demo.run(&["sessions"]));
    let rows: Vec<Vec<_>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{printed}");
    assert_eq!(rows[0][..3], ["SESSION", "USER", "PLATFORM"]);
    assert_eq!((rows[1][1], rows[1][2], rows[1][7]), ("alice", "ios", "yes"));
    assert_eq!((rows[2][1], rows[2][3], rows[2][7]), ("bob", "laptop", "no"));
    let column = printed.lines().next().unwrap().find("USER").unwrap();
    assert!(printed.lines().nth(2).unwrap()[column..].starts_with("bob"), "{printed}");
}

#[test]
fn some_are_selected_and_printed_as_json() {
    let demo = Demo::start();
    let _listeners = ["alice", "bob"].map(|user| demo.listen(user, &[]));
    let printed = text(&demo.run(&["sessions", "--user", "bob", "--output", "json"]));
    let session: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&session["userId"], &session["encrypted"]), (&"bob".into(), &false.into()));
    let id = session["sessionId"].as_str().unwrap();
    let others = text(&demo.run(&["sessions", "--except-session", id, "--output", "json"]));
    assert!(others.lines().count() == 1 && others.contains("alice"), "{others}");
    let none = text(&demo.run(&["sessions", "--user", "nobody"]));
    assert!(none.starts_with("SESSION") && none.lines().count() == 1, "{none}");
}

#[test]
fn a_watch_tells_who_is_there_and_who_comes_and_goes() {
    let demo = Demo::start();
    let _alice = demo.listen("alice", &[]);
    let mut watch = Running::start(&mut demo.command(&["sessions", "--watch"]));
    let there = watch.line();
    assert!(there.contains("SNAPSHOT ") && there.contains("alice"), "{there}");
    let mut note = String::new();
    watch.err.read_line(&mut note).unwrap();
    assert_eq!(note, "1 there; watching\n");
    let bob = demo.listen("bob", &[]);
    let came = watch.line();
    assert!(came.contains("CONNECTED") && came.contains("bob"), "{came}");
    text(&demo.run(&["kick", "--user", "bob", "--reason", "spam"]));
    let went = watch.line();
    assert!(went.contains("DISCONNECTED") && went.ends_with("3005 spam"), "{went}");
    drop(bob);
    watch.interrupt();
    assert_eq!(watch.end(), (Some(0), String::new()));
}

#[test]
fn a_watch_in_json_says_where_the_snapshot_ends() {
    let demo = Demo::start();
    let arguments = ["sessions", "--watch", "--user", "bob", "--output", "json"];
    let mut watch = Running::start(&mut demo.command(&arguments));
    assert_eq!(watch.json()["kind"], "SNAPSHOT_END");
    let _listeners = ["alice", "bob"].map(|user| demo.listen(user, &[]));
    let came = watch.json();
    assert_eq!((&came["kind"], &came["session"]["userId"]), (&"CONNECTED".into(), &"bob".into()));
}

#[test]
fn a_watch_that_the_gateway_ends_says_so() {
    let demo = Demo::start();
    let mut watch = Running::start(&mut demo.command(&["sessions", "--watch", "--output", "json"]));
    watch.json();
    demo.process.interrupt();
    let (code, error) = watch.end();
    assert_eq!(code, Some(1));
    assert!(error.contains("the gateway has ended the watch"), "{error}");
}

#[test]
fn a_reader_that_leaves_ends_the_watch_without_an_error() {
    let demo = Demo::start();
    let _alice = demo.listen("alice", &[]);
    let mut command = demo.command(&["sessions"]);
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let output = command.stdout(write).output().unwrap();
    assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()));
}
