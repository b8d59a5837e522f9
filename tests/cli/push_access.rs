//! Obstacles to the commands of the Push API, and their messages then: no listener,
//! tokens, certificates, and servers of another kind.

use std::io::BufRead as _;
use std::path::Path;
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{Demo, Running, assert_fails, bridgehead, drain, text};

/// A gateway with a Push API of its own kind.
struct Gateway {
    _process: Running,
    folder: TempDir,
    /// `127.0.0.1:port`.
    address: String,
}

impl Gateway {
    /// Starts one with these keys of the `push` section; files that they name must
    /// be in the folder.
    fn start(folder: TempDir, push: &str) -> Self {
        let config = format!(
            "edge: {{ listen: 127.0.0.1:0 }}\nauth: {{ none: {{}} }}\nupstreams: {{}}\n\
             push: {{ listen: 127.0.0.1:0, {push} }}\nlog: {{ format: json }}\n"
        );
        std::fs::write(folder.path().join("routes.yaml"), config).unwrap();
        let mut process = Running::start(&mut bridgehead(&["serve"], folder.path()));
        let address = loop {
            let mut line = String::new();
            assert!(process.err.read_line(&mut line).unwrap() > 0, "the gateway did not start");
            if line.contains("push API listening") {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        drain(&mut process);
        Self { _process: process, folder, address }
    }

    /// Lists its sessions: the simplest call that needs everything to be right.
    fn sessions(&self, scheme: &str, arguments: &[&str]) -> Output {
        sessions(self.folder.path(), &format!("{scheme}://{}", self.address), arguments)
    }
}

fn sessions(folder: &Path, url: &str, arguments: &[&str]) -> Output {
    let arguments = [&["sessions", "--push-url", url], arguments].concat();
    bridgehead(&arguments, folder).output().unwrap()
}

/// Writes `name.pem`, an authority, and `name.crt` and `name.key`, which it has
/// signed for 127.0.0.1.
fn certify(folder: &Path, name: &str) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let write = |ending, text| std::fs::write(folder.join(format!("{name}.{ending}")), text);
    write("pem", authority.pem()).unwrap();
    write("crt", certificate.pem()).unwrap();
    write("key", key.serialize_pem()).unwrap();
}

#[test]
fn a_gateway_that_is_not_there_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = sessions(folder.path(), &format!("http://{nobody}"), &[]);
    assert_fails(&output, 1, &format!("cannot connect to {nobody}"));
    assert_fails(
        &output,
        1,
        "`bridgehead serve`), and does its configuration have a `push` section?",
    );
}

#[test]
fn a_gateway_that_says_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{}", silent.local_addr().unwrap());
        let output = sessions(folder.path(), &url, &["--timeout", "300ms"]);
        assert_fails(&output, 1, "did not answer within 300ms");
    }
}

#[test]
fn the_token_comes_from_the_command_line_or_the_environment() {
    let gateway = Gateway::start(tempfile::tempdir().unwrap(), "tokens: [s3cret]");
    text(&gateway.sessions("http", &["--push-token", "s3cret"]));
    let url = format!("http://{}", gateway.address);
    let mut command = bridgehead(&["sessions", "--push-url", &url], gateway.folder.path());
    text(&command.env("BRIDGEHEAD_PUSH_TOKEN", "s3cret").output().unwrap());
}

#[test]
fn a_token_that_is_missing_or_wrong_is_explained() {
    let gateway = Gateway::start(tempfile::tempdir().unwrap(), "tokens: [s3cret]");
    let missing = gateway.sessions("http", &[]);
    assert_fails(&missing, 1, "UNAUTHENTICATED");
    assert_fails(&missing, 1, "with --push-token, or in BRIDGEHEAD_PUSH_TOKEN");
    let wrong = gateway.sessions("http", &["--push-token", "other"]);
    assert_fails(&wrong, 1, "the token must be one of push.tokens");
}

#[test]
fn tls_needs_an_authority_that_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "server");
    certify(folder.path(), "other");
    let gateway = Gateway::start(folder, "tls: { cert: server.crt, key: server.key }");
    text(&gateway.sessions("https", &["--ca", "server.pem"]));
    for arguments in [&[][..], &["--ca", "other.pem"]] {
        let output = gateway.sessions("https", arguments);
        assert_fails(&output, 1, "name the authority that signed the gateway's certificate");
    }
}

#[test]
fn plain_and_tls_that_are_mixed_up_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "server");
    let gateway = Gateway::start(folder, "tls: { cert: server.crt, key: server.key }");
    assert_fails(&gateway.sessions("http", &[]), 1, "is it http:// or https://?");
    let plain = Gateway::start(tempfile::tempdir().unwrap(), "tokens: []");
    assert_fails(
        &plain.sessions("https", &[]),
        1,
        "write http:// instead of https:// in --push-url",
    );
}

#[test]
fn mutual_tls_needs_a_certificate_of_the_right_authority() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["server", "callers", "other"] {
        certify(folder.path(), name);
    }
    let tls = "tls: { cert: server.crt, key: server.key, client_ca: callers.pem }";
    let gateway = Gateway::start(folder, tls);
    let shown = |name: &str| {
        let files = [format!("{name}.crt"), format!("{name}.key")];
        let arguments = ["--ca", "server.pem", "--cert", &files[0], "--key", &files[1]];
        gateway.sessions("https", &arguments)
    };
    text(&shown("callers"));
    let none = gateway.sessions("https", &["--ca", "server.pem"]);
    assert_fails(&none, 1, "the gateway may ask for a certificate: --cert and --key");
    assert_fails(&shown("other"), 1, "may not accept the certificate of --cert");
}

#[test]
fn servers_of_another_kind_are_recognized() {
    let demo = Demo::start();
    let websocket = demo.url.replace("ws://", "http://").replace("/ws", "");
    assert_fails(
        &sessions(demo.folder.path(), &websocket, &[]),
        1,
        "this is where clients connect (edge.listen)",
    );
}
