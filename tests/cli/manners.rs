//! How commands report errors, and how they end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{BRIDGEHEAD, Demo, Running, assert_fails, bridgehead, error, json, text};

#[path = "../../build/commit.rs"]
#[allow(unreachable_pub, dead_code)]
mod commit;

#[test]
fn the_path_to_use_is_named() {
    let demo = Demo::start();
    let without = demo.url.trim_end_matches("/ws");
    for url in [without.to_owned(), format!("{without}/"), format!("{without}/nothing?x")] {
        let output = demo.call(&["/v1/conn/keepAlive", "--url", &url]);
        assert_fails(&output, 1, &format!("clients connect at /ws: {}\n", demo.url));
    }
    let bench = ["bench", "call", "/v1/conn/keepAlive", "--connections", "1", "--url", without];
    assert_fails(&demo.run(&bench), 1, "clients connect at /ws");
}

#[test]
fn the_ports_of_others_are_recognised() {
    let demo = Demo::start();
    let url = demo.push_url.replace("http://", "ws://");
    for command in [&["call"][..], &["bench", "call"], &["bench", "idle", "--sessions", "1"]] {
        let mut arguments = command.to_vec();
        if !command.contains(&"idle") {
            arguments.push("/v1/conn/keepAlive");
        }
        arguments.extend(["--url", &url]);
        assert_fails(&demo.run(&arguments), 1, "a gRPC server answers");
    }
    let url = demo.url.replace("ws://", "http://").replace("/ws", "");
    let push = ["push", "--user", "a", "--text", "x", "--push-url", &url];
    assert_fails(&demo.run(&push), 1, "this is where clients connect (edge.listen)");
    let url = demo.readiness.replace("/readyz", "");
    assert_fails(
        &demo.run(&["sessions", "--push-url", &url]),
        1,
        "this is the admin listener (admin.listen)",
    );
    let url = url.replace("http://", "ws://");
    let output = demo.call(&["/v1/conn/keepAlive", "--url", &url]);
    assert_fails(&output, 1, "help: this is the admin listener (admin.listen)");
}

#[test]
fn a_taken_port_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for section in ["edge", "push", "admin"] {
        let listen = |name: &str| {
            if name == section { address.to_string() } else { "127.0.0.1:0".to_owned() }
        };
        let sections = ["edge", "push", "admin"];
        let lines = sections.map(|name| format!("{name}: {{ listen: '{}' }}\n", listen(name)));
        let config = format!("{}auth: {{ none: {{}} }}\n", lines.concat());
        std::fs::write(folder.path().join("routes.yaml"), config).unwrap();
        let output = bridgehead(&["serve", "--workers", "1"], folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = error(&output);
        assert!(said.contains(&format!("({section}.listen)")), "{said}");
        assert!(said.contains("another gateway, or the demo"), "{said}");
    }
}

#[test]
fn a_request_error_names_the_log_and_its_id() {
    let demo = Demo::start();
    let request = ["/v1/nothing", "--descriptors", "none"];
    // A method that the gateway does not have, called by descriptors of the demo's.
    let set = demo.folder.path().join("demo.binpb");
    std::fs::write(&set, bridgehead::proto::demo::FILE_DESCRIPTOR_SET).unwrap();
    let set = set.to_str().unwrap();
    let arguments =
        [request[0], "{}", "--descriptors", set, "--rpc", "pb.userService/Login", "--user", "a"];
    let output = demo.call(&arguments);
    assert_fails(&output, 1, "expose_errors");
    assert!(error(&output).contains("request=3"), "{}", error(&output));
}

#[test]
fn listening_says_so_and_knows_a_type() {
    let demo = Demo::start();
    let mut listener = demo.listen("zoe", &["--type", "pb.LoginReq"]);
    let push = ["push", "--user", "zoe", "--event", "77", "--type", "pb.LoginReq"];
    text(&demo.run(&[&push[..], &["--json", r#"{"id": "x"}"#]].concat()));
    let pushed = listener.json();
    assert_eq!((&pushed["event"], &pushed["data"]["id"]), (&77.into(), &"x".into()));
    listener.interrupt();
    let (code, said) = listener.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("listening; Ctrl-C ends it"), "{said}");
    let unknown = demo.call(&["--listen", "--type", "pb.LoginRex"]);
    assert_fails(&unknown, 64, "did you mean `pb.LoginReq`?");
}

#[test]
fn ctrl_c_prints_what_a_bench_has_so_far() {
    let demo = Demo::start();
    let runs: [&[&str]; 3] = [
        &["call", "/v1/conn/keepAlive", "--connections", "2", "--warmup", "0s", "--duration", "5m"],
        &["idle", "--sessions", "2", "--hold", "5m"],
        &["push", "--sessions", "2", "--rounds", "60000"],
    ];
    for run in runs {
        let arguments = [&["bench"], run, &["--json"]].concat();
        let mut running = Running::start(&mut demo.command(&arguments));
        thread::sleep(Duration::from_secs(3));
        running.interrupt();
        let began = Instant::now();
        let mut printed = String::new();
        running.out.read_to_string(&mut printed).unwrap();
        let (code, said) = running.end();
        assert_eq!(code, Some(130), "{run:?}: {said}");
        assert!(began.elapsed() < Duration::from_secs(20));
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["interrupted"], true, "{run:?}");
    }
}

#[test]
fn health_is_json_for_programs() {
    let demo = Demo::start();
    let good = json(&demo.run(&["health", "--url", &demo.readiness, "--output", "json"]));
    assert_eq!((&good["healthy"], &good["status"]), (&true.into(), &200.into()));
    assert_eq!(good["answer"]["status"], "ready");
    let without_path = demo.readiness.replace("/readyz", "");
    let same = json(&demo.run(&["health", "--url", &without_path, "-o", "json"]));
    assert_eq!((&same["url"], &same["healthy"]), (&demo.readiness.as_str().into(), &true.into()));
    for other in [&demo.push_url, &demo.url.replace("ws://", "http://").replace("/ws", "")] {
        let output = demo.run(&["health", "--url", other]);
        assert_fails(&output, 1, "admin.listen of `bridgehead serve`");
        assert_fails(&output, 1, "with --url");
    }
    let nobody = ["health", "--url", "http://127.0.0.1:1/readyz", "-o", "json"];
    let output = demo.run(&nobody);
    assert_eq!(output.status.code(), Some(1));
    let bad: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(bad["healthy"], false);
    assert!(bad["error"].as_str().unwrap().contains("cannot connect"), "{bad}");
    assert!(bad["help"].as_str().unwrap().contains("`bridgehead serve`"), "{bad}");
}

#[test]
fn shells_can_complete_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&bridgehead(&["completions", shell], folder.path()).output().unwrap());
        assert!(script.contains("everyone"), "{shell}");
    }
    let script = folder.path().join("script");
    let bash = text(&bridgehead(&["completions", "bash"], folder.path()).output().unwrap());
    std::fs::write(&script, bash).unwrap();
    let asked = "source ./script; COMP_WORDS=(bridgehead che); COMP_CWORD=1; _bridgehead bridgehead che bridgehead; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", asked]).current_dir(folder.path()).output();
    assert_eq!(text(&output.unwrap()).trim(), "check");
    // A value that is a file is completed with file names, and no other value.
    let complete = |flag: &str| {
        let asked = format!(
            "source ./script; COMP_WORDS=(bridgehead push {flag} ''); COMP_CWORD=3; _bridgehead bridgehead '' {flag}; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &asked]).current_dir(folder.path()).output();
        text(&output.unwrap()).trim().to_owned()
    };
    assert_eq!((complete("--event"), complete("--file")), (String::new(), "script".to_owned()));
    assert_fails(&bridgehead(&["completions", "ksh"], folder.path()).output().unwrap(), 64, "bash");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let page = text(&bridgehead(&["man"], folder.path()).output().unwrap());
    assert!(page.contains(".TH bridgehead 1"), "{page}");
    assert!(page.contains("(push, sessions, kick, bench push)"), "{page}");
    text(&bridgehead(&["man", "--out", "a/b"], folder.path()).output().unwrap());
    for name in ["bridgehead", "bridgehead-check", "bridgehead-bench-call", "bridgehead-man"] {
        let page = std::fs::read_to_string(folder.path().join(format!("a/b/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
        for section in ["ENVIRONMENT", "EXIT STATUS", "SEE ALSO"] {
            let heading = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(heading.iter().any(|it| page.contains(it)), "{name}: {section}: {page}");
        }
    }
    let call = std::fs::read_to_string(folder.path().join("a/b/bridgehead-call.1")).unwrap();
    assert!(call.contains("[OPTIONS] [METHOD] [JSON]"), "{call}");
    assert!(call.contains("BRIDGEHEAD_TOKEN") && !call.contains("[default: ]"), "{call}");
    let help = text(&bridgehead(&["call", "--help"], folder.path()).output().unwrap());
    assert!(!help.contains("[default: ]"), "{help}");
}

#[test]
fn an_unknown_command_lists_those_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| bridgehead(arguments, folder.path()).output().unwrap();
    assert_fails(&run(&["nothing"]), 64, "commands: serve, demo, check, call, push, ");
    assert_fails(&run(&["serv"]), 64, "'serve'");
    assert_fails(&run(&["bench", "nothing"]), 64, "commands: call, idle, push\n");
}

#[test]
fn the_version_may_have_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let said = text(&bridgehead(&["--version"], folder.path()).output().unwrap());
    let version = concat!("bridgehead ", env!("CARGO_PKG_VERSION"));
    let rest = said.trim().strip_prefix(version).unwrap();
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(rest.is_empty() || commit.is_some_and(|it| commit::from_text(it).is_some()), "{said}");
}

#[test]
fn a_commit_is_that_of_the_repository_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str], at: &Path| {
        let name = ["-c", "user.name=a", "-c", "user.email=a@b"];
        let done = Command::new("git").arg("-C").arg(at).args(name).args(arguments).output();
        assert!(done.unwrap().status.success(), "{arguments:?}");
    };
    let root = folder.path();
    assert_eq!(commit::of_repository(root), None);
    git(&["init", "-q"], root);
    std::fs::write(root.join("file"), "a").unwrap();
    git(&["add", "file"], root);
    git(&["commit", "-qm", "x"], root);
    let clean = commit::of_repository(root).unwrap();
    assert_eq!(clean.len(), 12);
    std::fs::write(root.join("file"), "b").unwrap();
    assert_eq!(commit::of_repository(root), Some(format!("{clean}-dirty")));
    let within = root.join("archive");
    std::fs::create_dir(&within).unwrap();
    assert_eq!(commit::of_repository(&within), None);
    assert_eq!(commit::from_text("unknown"), None);
    assert_eq!(commit::from_text("0123456789ABCDEF\n").as_deref(), Some("0123456789ab"));
}

#[test]
fn a_peer_that_says_nothing_is_not_waited_for_forever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"SSH-2.0-x\r\n");
            std::mem::forget(stream);
        }
    });
    let began = Instant::now();
    let mut command = Command::new(BRIDGEHEAD);
    command.args(["call", "/v1/conn/keepAlive", "--timeout", "5s", "--url", &url]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("the WebSocket handshake with"), "{}", error(&output));
    assert!(began.elapsed() < Duration::from_secs(5));
}
