//! Arguments that cannot be used, files that are written, and a reader of
//! standard output that leaves.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::support::{Demo, assert_fails, bridgehead, error, text};

/// Flags and values that they cannot have.
type Flags = &'static [(&'static str, &'static str)];

#[test]
fn a_senseless_number_exits_with_64_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let push = ["push", "--user", "a", "--text", "x"];
    let commands: [(&[&str], Flags); 12] = [
        (&["call", "/v1/conn/keepAlive"], &[("--timeout", "0"), ("--timeout", "2y")]),
        (&push, &[("--timeout", "0s"), ("--deadline", "11m"), ("--event", "2147483648")]),
        (&["sessions"], &[("--timeout", "0")]),
        (&["kick", "--everyone"], &[("--timeout", "0")]),
        (&["health"], &[("--timeout", "0")]),
        (&["serve"], &[("--workers", "0"), ("--workers", "1025")]),
        (&["token", "--secret", "s", "--user", "a"], &[("--expires", "0"), ("--expires", "101y")]),
        (&["keygen"], &[("--bits", "0"), ("--bits", "1024")]),
        (
            &["bench", "call", "/v1/conn/keepAlive"],
            &[
                ("--timeout", "0"),
                ("--duration", "0"),
                ("--warmup", "2y"),
                ("--rate", "0"),
                ("--requests", "0"),
                ("--connections", "0"),
                ("--in-flight", "0"),
                ("--threads", "0"),
                ("--pid", "0"),
            ],
        ),
        (
            &["bench", "idle"],
            &[
                ("--timeout", "0"),
                ("--sessions", "0"),
                ("--opening", "0"),
                ("--hold", "2y"),
                ("--burst", "0"),
                ("--pid", "0"),
            ],
        ),
        (
            &["bench", "idle", "--burst", "1KiB"],
            &[("--burst-at-once", "0"), ("--settle", "2y"), ("--max-message", "0")],
        ),
        (
            &["bench", "push"],
            &[
                ("--timeout", "0"),
                ("--sessions", "0"),
                ("--stalled", "1000"),
                ("--rounds", "0"),
                ("--size", "0"),
                ("--deadline", "11m"),
                ("--pid", "0"),
            ],
        ),
    ];
    for (command, flags) in commands {
        for (flag, value) in flags {
            let arguments = [command, &[flag, value]].concat();
            let output = bridgehead(&arguments, folder.path()).output().unwrap();
            assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", error(&output));
            assert!(error(&output).contains(flag), "{arguments:?}: {}", error(&output));
        }
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let demo = Demo::start();
    let lines = |arguments: &[&str], lines: usize| {
        let mut command = demo.command(arguments);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::with_capacity(16, process.stdout.take().unwrap());
        for _ in 0..lines {
            out.read_line(&mut String::new()).unwrap();
        }
        drop(out);
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (process.wait().unwrap().code(), said)
    };
    let silent = (Some(0), String::new());
    // More than a pipe holds, and commands whose reader is gone before they print.
    assert_eq!(lines(&["schema"], 1), silent);
    assert_eq!(lines(&["completions", "bash"], 1), silent);
    for command in [
        &["schema"][..],
        &["man"],
        &["sessions"],
        &["sessions", "-o", "json"],
        &["health", "--url", &demo.readiness],
        &["health", "-o", "json", "--url", &demo.readiness],
        &["keygen", "--out", "k.pem"],
        &["call", "/v1/conn/keepAlive"],
        &["--help"],
        &["call", "--help"],
    ] {
        assert_eq!(lines(command, 0), silent, "{command:?}");
    }
    // A command's result counts all the same.
    std::fs::write(demo.folder.path().join("routes.yaml"), "x: 1\n").unwrap();
    assert_eq!(lines(&["check", "-o", "json"], 0).0, Some(64));
    let required = ["push", "--user", "nobody", "--text", "x", "--require"];
    assert_eq!(lines(&required, 0).0, Some(1));
}

#[test]
fn the_folder_of_a_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| bridgehead(arguments, folder.path()).output().unwrap();
    for (arguments, made) in [
        (&["token", "--new-key", "es256", "--out", "a/keys"][..], "a/keys/jwks.json"),
        (&["token", "--new-key", "hs256", "--out", "b/keys"], "b/keys/jwt.secret"),
        (&["keygen", "--out", "c/d/k.pem"], "c/d/k.pem"),
        (&["keygen", "--out", "k.pem", "--public", "e/f/k.pub.pem"], "e/f/k.pub.pem"),
        (&["man", "--out", "g/h"], "g/h/bridgehead.1"),
    ] {
        text(&run(arguments));
        assert!(folder.path().join(made).is_file(), "{made}");
    }
    // A file is in the way.
    assert_fails(
        &run(&["keygen", "--force", "--out", "k.pem/x/k.pem"]),
        1,
        "cannot write k.pem/x/k.pem",
    );
}
