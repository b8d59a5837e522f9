//! `bridgehead token`: keys and tokens that the gateway takes.

use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Running, assert_fails, bridgehead, drain, error, text};

/// A folder to make keys in and to run gateways in.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        bridgehead(arguments, self.0.path()).output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn token(&self, arguments: &[&str]) -> String {
        text(&self.run(&[&["token"], arguments].concat())).trim().to_owned()
    }

    /// A gateway that judges logins so.
    fn serve(&self, jwt: &Value) -> Gateway {
        let config = json!({
            "edge": {"listen": "127.0.0.1:0"},
            "auth": {"jwt": jwt},
            "log": {"format": "json"},
        });
        fs::write(self.0.path().join("routes.yaml"), config.to_string()).unwrap();
        let mut process = Running::start(&mut bridgehead(&["serve"], self.0.path()));
        let address = loop {
            let mut line = String::new();
            assert!(process.err.read_line(&mut line).unwrap() > 0, "the gateway did not start");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening" {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        drain(&mut process);
        Gateway { _process: process, url: format!("ws://{address}/ws") }
    }
}

struct Gateway {
    _process: Running,
    url: String,
}

impl Gateway {
    fn log_in(&self, user: &str, token: &str) -> Output {
        let call = ["call", "/v1/conn/keepAlive", "--url", &self.url];
        let login = ["--user", user, "--token", token];
        bridgehead(&[&call[..], &login].concat(), Path::new(".")).output().unwrap()
    }

    #[track_caller]
    fn assert_lets_in(&self, user: &str, token: &str) {
        let output = self.log_in(user, token);
        assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    }

    #[track_caller]
    fn assert_refuses(&self, user: &str, token: &str, why: &str) {
        let output = self.log_in(user, token);
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(error(&output).contains(why), "{}", error(&output));
    }
}

/// The parts of a token: header and claims.
fn parts(token: &str) -> [Value; 2] {
    use base64::Engine as _;
    let mut parts = token.split('.').map(|part| {
        let json = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&json).unwrap_or_default()
    });
    [parts.next().unwrap(), parts.next().unwrap()]
}

#[test]
fn a_gateway_takes_the_tokens_of_every_kind_of_key() {
    for (kind, algorithm) in [("rs256", "RS256"), ("es256", "ES256"), ("eddsa", "EdDSA")] {
        let folder = Folder::new();
        let said = text(&folder.run(&["token", "--new-key", kind]));
        assert!(said.contains("jwt: { keys: jwks.json }"), "{said}");
        let minted = folder.token(&["--key", "jwt.pem", "--user", "zoe"]);
        let [header, claims] = parts(&minted);
        let set: Value = serde_json::from_str(&folder.read("jwks.json")).unwrap();
        assert_eq!(header["alg"], algorithm);
        assert_eq!(header["kid"], set["keys"][0]["kid"]);
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
        assert!(!folder.read("jwks.json").contains("\"d\""), "the public half alone");
        for keys in ["jwks.json", "jwt.pub.pem"] {
            let gateway = folder.serve(&json!({ "keys": keys }));
            gateway.assert_lets_in("zoe", &minted);
            gateway.assert_refuses("bob", &minted, "token is for another user");
        }
    }
}

#[test]
fn a_gateway_takes_the_tokens_of_a_secret() {
    let folder = Folder::new();
    let said = text(&folder.run(&["token", "--new-key", "hs256"]));
    assert!(said.contains("jwt: { secret: jwt.secret }"), "{said}");
    assert_eq!(folder.read("jwt.secret").len(), 65);
    let gateway = folder.serve(&json!({ "secret": "jwt.secret" }));
    for algorithm in ["HS256", "HS512"] {
        let arguments = ["--secret", "jwt.secret", "--user", "zoe", "--algorithm", algorithm];
        gateway.assert_lets_in("zoe", &folder.token(&arguments));
    }
    let expired = ["--secret", "jwt.secret", "--user", "zoe", "--claim", "exp=1", "--claim", "a=b"];
    let expired = folder.token(&expired);
    assert_eq!(parts(&expired)[1]["a"], "b");
    gateway.assert_refuses("zoe", &expired, "token expired");
}

#[test]
fn claims_are_those_that_were_asked_for() {
    let folder = Folder::new();
    text(&folder.run(&["token", "--new-key", "es256", "--kid", "mine"]));
    let minted = folder.token(&[
        "--key=jwt.pem",
        "--kid=mine",
        "--user=zoe",
        "--user-claim=https://example.com/uid",
        "--issuer=https://id.example.com",
        "--audience=im",
        "--audience=web",
        "--expires=never",
        "--claim=realm={\"user\": {\"id\": 7}}",
    ]);
    let [header, claims] = parts(&minted);
    assert_eq!(header["kid"], "mine");
    assert_eq!(claims["https://example.com/uid"], "zoe");
    assert_eq!(claims["aud"], json!(["im", "web"]));
    assert!(claims["exp"].is_null() && claims["sub"].is_null());
    let jwt = json!({
        "keys": "jwks.json",
        "issuer": "https://id.example.com",
        "audience": "im",
        "user_claim": "realm.user.id",
    });
    folder.serve(&jwt).assert_lets_in("7", &minted);
}

#[test]
fn keys_of_other_programs_sign_too() {
    let folder = Folder::new();
    let openssl = |arguments: &[&str], file: &str| {
        let mut command = std::process::Command::new("openssl");
        let (first, rest) = arguments.split_first().unwrap();
        let out = folder.0.path().join(file);
        let made = command.arg(first).arg("-out").arg(out).args(rest).output();
        assert!(made.unwrap().status.success(), "{arguments:?}");
    };
    openssl(&["genrsa", "-traditional", "2048"], "pkcs1.pem");
    openssl(&["genpkey", "-algorithm", "RSA"], "pkcs8.pem");
    openssl(&["ecparam", "-genkey", "-name", "secp384r1", "-noout"], "sec1.pem");
    openssl(&["genpkey", "-algorithm", "ed25519"], "ed25519.pem");
    for (file, algorithm) in [
        ("pkcs1.pem", "RS256"),
        ("pkcs8.pem", "RS256"),
        ("sec1.pem", "ES384"),
        ("ed25519.pem", "EdDSA"),
    ] {
        openssl(&["pkey", "-pubout", "-in", folder.0.path().join(file).to_str().unwrap()], "pub");
        let minted = folder.token(&["--key", file, "--user", "zoe"]);
        assert_eq!(parts(&minted)[0]["alg"], algorithm);
        folder.serve(&json!({ "keys": "pub" })).assert_lets_in("zoe", &minted);
    }
}

#[cfg(unix)]
#[test]
fn what_is_secret_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    text(&folder.run(&["token", "--new-key", "eddsa"]));
    text(&folder.run(&["token", "--new-key", "hs256"]));
    for (name, mode) in
        [("jwt.pem", 0o600), ("jwt.secret", 0o600), ("jwt.pub.pem", 0o644), ("jwks.json", 0o644)]
    {
        let found = fs::metadata(folder.0.path().join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
}

#[test]
fn a_key_that_exists_stays() {
    let folder = Folder::new();
    fs::write(folder.0.path().join("jwks.json"), "old").unwrap();
    let made = folder.run(&["token", "--new-key", "eddsa"]);
    assert_fails(&made, 1, "jwks.json exists and is not overwritten");
    assert!(!folder.0.path().join("jwt.pem").exists());
    text(&folder.run(&["token", "--new-key", "eddsa", "--force"]));
    assert!(folder.read("jwks.json").contains("OKP"));
}

#[test]
fn what_cannot_sign_is_said_without_a_byte_of_it() {
    let folder = Folder::new();
    text(&folder.run(&["token", "--new-key", "es256"]));
    let pem = folder.read("jwt.pem");
    fs::write(folder.0.path().join("broken.pem"), pem.replace('\n', "\\n")).unwrap();
    fs::write(folder.0.path().join("jwks.secret"), folder.read("jwks.json")).unwrap();
    for (arguments, says) in [
        (["--key", "broken.pem"], "its line breaks are written as"),
        (["--key", "jwt.pub.pem"], "it holds a public key"),
        (["--key", "nowhere.pem"], "cannot read nowhere.pem"),
        (["--secret", "jwks.secret"], "which is not a secret"),
    ] {
        let minted = folder.run(&[&["token", "--user", "zoe"], &arguments[..]].concat());
        assert_fails(&minted, 64, says);
        let body = pem.lines().nth(1).unwrap();
        assert!(!error(&minted).contains(&body[..8]));
    }
    let wrong = ["token", "--user", "zoe", "--key", "jwt.pem", "--algorithm", "RS256"];
    assert_fails(&folder.run(&wrong), 64, "the key is for ES256");
    assert_fails(&folder.run(&["token", "--user", "zoe"]), 64, "--key");
    assert_fails(&folder.run(&["token", "--new-key", "es256", "--user", "zoe"]), 64, "--user");
}
