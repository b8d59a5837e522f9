//! `bridgehead check`: one mistake is one error, and how it ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use bridgehead::proto::demo;
use serde_json::Value;

use crate::support::{Demo, assert_fails, bridgehead, error, json, text};

const BASICS: &str = "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\n";
const UPSTREAM: &str = "upstreams: { u: { address: http://127.0.0.1:1, descriptors: [d.binpb], routes: { /x: pb.userService/Login } } }\n";

/// A folder with files of all kinds that a configuration may name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        write(&format!("{name}.crt"), made.cert.pem().as_bytes());
        write(&format!("{name}.key"), made.signing_key.serialize_pem().as_bytes());
    }
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.key", encrypted.as_bytes());
    write("junk", b"junk");
    write("empty", b"");
    write("two", b"a\nb\n");
    write("d.binpb", demo::FILE_DESCRIPTOR_SET);
    folder
}

fn check(folder: &Path, config: &[u8], more: &[&str]) -> Output {
    fs::write(folder.join("routes.yaml"), config).unwrap();
    bridgehead(&[&["check"], more].concat(), folder).output().unwrap()
}

/// Texts with one mistake each, and a part of its message.
#[allow(clippy::too_many_lines, reason = "a table")]
fn mistakes() -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    let mut add = |text: String, says| all.push((text, says));
    for (files, says) in [
        ("cert: no.crt, key: a.key", "`cert`: there is no file `no.crt`"),
        ("cert: a.crt, key: no.key", "`key`: there is no file `no.key`"),
        ("cert: a.crt, key: b.key", "does not belong to"),
        ("cert: a.crt, key: encrypted.key", "encrypted"),
        ("cert: junk, key: a.key", "junk"),
        ("cert: a.crt, key: empty", "empty"),
        ("cert: a.crt", "has no `key`"),
    ] {
        add(
            format!(
                "edge: {{ listen: 127.0.0.1:0, tls: {{ {files} }} }}\nauth: {{ none: {{}} }}\n"
            ),
            says,
        );
        add(format!("{BASICS}push: {{ tls: {{ {files} }} }}\n"), says);
    }
    for (rest, says) in [
        ("session: { private_key: no.pem }", "there is no file"),
        ("session: { private_key: no.pem, require_encryption: true }", "there is no file"),
        ("session: { private_key: a.crt }", "certificate"),
        ("push: { tokens: [{ token_file: no }] }", "there is no file"),
        ("push: { tokens: [{ token_file: two }] }", "2 lines"),
        ("push: { tokens: [\"a\\x01b\"] }", "no caller can send this token"),
        ("push: { tokens: [\"\\n\"] }", "is empty"),
        ("push: { listen: 0.0.0.0:0, tokens: [{ token_file: no }] }", "there is no file"),
        ("push: { listen: 0.0.0.0:0, tokens: [{}] }", "says nothing"),
        ("push: { listen: 0.0.0.0:0 }", "anyone may push"),
        ("cluster: { nats: nats://n:1, credentials: no.creds }", "there is no file"),
        ("cluster: { nats: nats://n:1, credentials: junk }", "cannot use the credentials"),
        ("cluster: { nats: nats://n:1, tls: { ca: no.pem } }", "there is no file"),
        ("cluster: { nats: nats://n:1, tls: { cert: a.crt, key: b.key } }", "does not belong to"),
        ("tracing: { otlp: https://c:1, tls: { ca: no.pem } }", "there is no file"),
        ("tracing: { otlp: https://c:1, tls: { cert: a.crt, key: b.key } }", "does not belong to"),
        ("identity: { request_field: a.b }", "is not the name of a protobuf field"),
        ("public_methods: [a]", "can never match"),
        ("log: { level: ${NOPE} }", "needs quotes"),
        ("log: { level: \"${NOPE}\" }", "no variable `NOPE`"),
        ("log: {}\nlog: {}", "is here twice"),
        ("log:\n\tlevel: info", "a tab"),
        (
            "push: { listen: 127.0.0.1:7000 }\nadmin: { listen: 0.0.0.0:7000 }",
            "`admin.listen`, `0.0.0.0:7000`, is where `push.listen`, `127.0.0.1:7000`, listens too",
        ),
        (
            "push: {}\nadmin: { listen: 127.0.0.1:9090 }",
            "`push.listen`, `127.0.0.1:9090`, listens too",
        ),
        ("log: {}\0", "a NUL character"),
        ("log: {} # \x1b[2J", "an escape character"),
        ("log: { <<: {} }", "merging"),
        ("loging: {}", "did you mean `log`?"),
    ] {
        add(format!("{BASICS}{rest}\n"), says);
    }
    for (edge, says) in [
        ("allowed_origins: ['https://a.example:443']", "write `https://a.example`"),
        ("allowed_origins: ['https://a.example/']", "write `https://a.example`"),
        ("allowed_origins: ['https://A.example']", "write `https://a.example`"),
        ("allowed_origins: ['wss://a.example']", "write `https://a.example`"),
        ("trusted_proxies: [10.0.0.0/33]", "is not an IP network"),
    ] {
        add(format!("edge: {{ listen: 127.0.0.1:0, {edge} }}\nauth: {{ none: {{}} }}\n"), says);
    }
    for (upstream, says) in [
        (
            "address: http://127.0.0.1:1, descriptors: [no.binpb], routes: { /x: a.B/C }",
            "there is no file",
        ),
        ("address: http://127.0.0.1:1, descriptors: [junk], routes: { /x: a.B/C }", "junk"),
        (
            "address: https://127.0.0.1:1, descriptors: [d.binpb], tls: { ca: no.pem }",
            "there is no file",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], tls: { domain: a }",
            "is plaintext, but the upstream has `tls`",
        ),
        (
            "address: [http://127.0.0.1:1], descriptors: [d.binpb], tls: { domain: a }",
            "is plaintext, but the upstream has `tls`",
        ),
        ("address: '127.0.0.1:1', descriptors: [d.binpb]", "has no scheme"),
        ("descriptors: [d.binpb], routes: { /x: pb.userService/Login }", "has no `address`"),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], routes: { '/v1/{id}': pb.userService/Login }",
            "is a pattern",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], routes: { /v1/*: pb.userService/Login }",
            "is a pattern",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], routes: { /x: pb.userService/Logn }",
            "did you mean `Login`?",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], expose: [pb.noService]",
            "pb.noService",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], metadata: { set: { x-a: { file: no } } }",
            "there is no file",
        ),
        (
            "address: http://127.0.0.1:1, descriptors: [d.binpb], error_codes: { OK: ToastError }",
            "OK",
        ),
    ] {
        add(format!("{BASICS}upstreams: {{ u: {{ {upstream} }} }}\n"), says);
    }
    for (auth, says) in [
        ("jwt: { keys: no.json }", "there is no file"),
        ("jwt: { keys: junk }", "junk"),
        ("jwt: { secret: no }", "there is no such file"),
        ("jwt: { keys: 'https://a.example/k', ca: no.pem }", "there is no file"),
        ("jwtt: { keys: x }", "did you mean `jwt`?"),
        ("grace: 5s", "has none of"),
        ("rpc: { upstream: v, rpc: pb.userService/Login, accept_when: {} }", "no upstream `v`"),
        ("rpc: { upstream: u, rpc: pb.userService/Login }", "does not define which responses"),
        (
            "rpc: { upstream: u, rpc: pb.userService/Login, accept_wen: {} }",
            "did you mean `accept_when`?",
        ),
        (
            "rpc: { upstream: u, rpc: pb.userService/Login, request: { idd: x }, accept_when: {} }",
            "no field `idd`",
        ),
        (
            "rpc: { upstream: u, rpc: pb.userService/Login, accept_when: { token: '{user_id}' } }",
            "filled in `request` alone",
        ),
    ] {
        add(format!("edge: {{ listen: 127.0.0.1:0 }}\nauth: {{ {auth} }}\n{UPSTREAM}"), says);
    }
    all
}

#[test]
fn one_mistake_is_one_error() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (config, says) in mistakes() {
        let output = check(folder.path(), config.as_bytes(), &["--offline"]);
        let said = error(&output);
        let is_one = said.contains("1 error in routes.yaml");
        if output.status.code() != Some(64) || !is_one || !said.contains(says) {
            wrong.push(format!("{config}\n{says}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n=====\n"));
}

#[test]
fn a_file_in_another_encoding_is_told_so() {
    let folder = folder();
    let utf16: Vec<u8> = BASICS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [[b"\xff\xfe", &utf16[..]].concat(), utf16.clone()] {
        let output = check(folder.path(), &bytes, &["--offline"]);
        assert_fails(&output, 64, "the file is text in UTF-16, not UTF-8");
        assert!(error(&output).contains("1 error"), "{}", error(&output));
    }
}

#[test]
fn what_was_asked_and_failed_is_1_and_a_wrong_file_is_64() {
    let folder = folder();
    let nobody = "upstreams: { u: { address: http://127.0.0.1:1, routes: { /x: pb.a/B } } }\n";
    let away = format!("{BASICS}{nobody}");
    assert_fails(&check(folder.path(), away.as_bytes(), &[]), 1, "cannot be reached");
    let both = format!("{away}log: {{ level: loud }}\n");
    assert_fails(&check(folder.path(), both.as_bytes(), &[]), 64, "cannot be reached");
    text(&check(folder.path(), away.as_bytes(), &["--offline"]));
}

/// Every port here is open, but only one is a gRPC server's.
#[test]
fn an_address_where_something_else_answers_is_named_as_such() {
    let demo = Demo::start();
    let folder = folder();
    let grpc = demo.push_url.replace("http://", "");
    let http = demo.readiness.replace("http://", "").replace("/readyz", "");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = |addresses: &str, descriptors: &str| {
        format!(
            "{BASICS}upstreams: {{ u: {{ address: {addresses}, descriptors: {descriptors}, routes: {{ /x: pb.userService/Login }} }} }}\n"
        )
    };
    let files = "[d.binpb]";
    text(&check(folder.path(), config(&format!("http://{grpc}"), files).as_bytes(), &[]));
    // One of several may be down.
    let one_is_down = format!("[http://{nobody}, http://{grpc}]");
    text(&check(folder.path(), config(&one_is_down, files).as_bytes(), &[]));
    let stranger = "something answers there that is not a gRPC server";
    for (addresses, descriptors, says) in [
        (format!("http://{nobody}"), files, "start the service"),
        (format!("http://{nobody}"), "reflection", "start the service"),
        (format!("https://{grpc}"), files, "does not speak TLS here: write http:// instead of"),
        (format!("https://{grpc}"), "reflection", stranger),
        (format!("[http://{grpc}, https://{grpc}]"), files, stranger),
        (format!("http://{http}"), files, stranger),
        (format!("http://{http}"), "reflection", stranger),
    ] {
        let text_of_it = config(&addresses, descriptors);
        assert_fails(&check(folder.path(), text_of_it.as_bytes(), &[]), 1, says);
        text(&check(folder.path(), text_of_it.as_bytes(), &["--offline"]));
    }
}

#[test]
fn a_table_with_unresolved_routes_is_aligned() {
    let folder = folder();
    let config = format!(
        "{BASICS}upstreams:\n  u: {{ address: 'http://127.0.0.1:1', descriptors: [d.binpb], routes: {{ /x: pb.userService/Login }} }}\n  v: {{ address: 'http://127.0.0.1:1', timeout: 3s, routes: {{ /a/long/name: a.B/C }}, expose: [pb.other] }}\n"
    );
    let printed = text(&check(folder.path(), config.as_bytes(), &["--offline"]));
    let lines: Vec<_> = printed.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            "METHOD        RPC                   UPSTREAM  TIMEOUT",
            "/x            pb.userService/Login  u         5s",
            "/a/long/name  a.B/C                 v         3s       not resolved",
            "/pb.other/*   pb.other/*            v         3s       not resolved",
            "1 route, 2 not resolved (--offline)",
        ]
    );
}

#[test]
fn a_file_that_does_not_exist_is_worded_alike_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let said: Vec<_> = [
        &["check", "-c", "no.yaml"][..],
        &["serve", "-c", "no.yaml"],
        &["call", "/x", "-c", "no.yaml"],
        &["push", "--user", "a", "--json", "{}", "--type", "a.B", "-c", "no.yaml"],
    ]
    .iter()
    .map(|arguments| {
        let output = bridgehead(arguments, folder.path()).output().unwrap();
        assert_fails(&output, 64, "the configuration file no.yaml does not exist\nhelp: ");
        error(&output)
    })
    .collect();
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
}

#[test]
fn a_placeholder_that_never_fits_its_field_is_a_mistake() {
    let folder = folder();
    let hook = |placeholder: &str| {
        format!(
            "{BASICS}hooks: {{ connected: {{ upstream: u, rpc: pb.relationService/GetFriendList, request: {{ page: {{ page: '{placeholder}' }} }} }} }}\n{UPSTREAM}"
        )
    };
    for placeholder in ["{connected_at_ms}", "{connected_at}", "{remote_ip}", "x{user_id}"] {
        let output = check(folder.path(), hook(placeholder).as_bytes(), &["--offline"]);
        assert_fails(&output, 64, "does not fit pb.Page.page (int32): ");
        assert!(error(&output).contains("1 error"), "{}", error(&output));
    }
    text(&check(folder.path(), hook("{user_id}").as_bytes(), &["--offline"]));
}

#[test]
fn the_outcome_is_json_for_programs() {
    let folder = folder();
    let config = format!("{BASICS}{UPSTREAM}");
    let offline = ["--output", "json", "--offline"];
    let good = json(&check(folder.path(), config.as_bytes(), &offline));
    assert_eq!(good["ok"], true);
    assert_eq!(good["logins"], "every token is accepted");
    let route = &good["routes"][0];
    assert_eq!((&route["method"], &route["upstream"]), (&"/x".into(), &"u".into()));
    assert_eq!((&route["timeout_ms"], &route["public"]), (&5000.into(), &false.into()));

    let output =
        check(folder.path(), format!("{BASICS}loging: {{}}\n").as_bytes(), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(error(&output), "");
    let bad: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&bad["ok"], &bad["errors"]), (&false.into(), &1.into()));
    let said = &bad["diagnostics"][0];
    assert_eq!(said["severity"], "error");
    assert_eq!(said["cause"], "file");
    assert_eq!(
        (&said["line"], &said["column"], &said["end_column"]),
        (&3.into(), &1.into(), &7.into())
    );
    assert_eq!(said["message"], "unknown key `loging`");

    let away =
        format!("{BASICS}upstreams: {{ u: {{ address: http://127.0.0.1:1, expose: [pb.a] }} }}\n");
    let output = check(folder.path(), away.as_bytes(), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let asked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(asked["diagnostics"][0]["cause"], "asked");
    assert_eq!(asked["unresolved"][0], "/pb.a/*");
}

#[test]
fn what_is_printed_can_be_checked_again_and_has_no_secret() {
    let folder = folder();
    let config = format!(
        "{BASICS}push: {{ tokens: ['${{TOKEN}}', hunter2-a] }}\ncluster: {{ nats: 'nats://me:hunter2-b@n:1', name: x }}\n{UPSTREAM}"
    );
    fs::write(folder.path().join("routes.yaml"), config).unwrap();
    let mut command = bridgehead(&["check", "--print", "--offline"], folder.path());
    let printed = text(&command.env("TOKEN", "hunter2-c\n").output().unwrap());
    assert!(!printed.contains("hunter2"), "{printed}");
    let again = text(&check(folder.path(), printed.as_bytes(), &["--print", "--offline"]));
    assert_eq!(again, printed);
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let folder = folder();
    fs::write(folder.path().join("routes.yaml"), "x: 1\n").unwrap();
    let said = |variables: &[(&str, &str)]| {
        let mut command = bridgehead(&["check"], folder.path());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        error(&command.envs(variables.iter().copied()).output().unwrap())
    };
    assert!(!said(&[]).contains('\x1b'));
    assert!(said(&[("CLICOLOR_FORCE", "1")]).contains('\x1b'));
    assert!(!said(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\x1b'));
}
