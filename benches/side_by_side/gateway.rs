//! The gateway under test: `bridgehead serve` with a configuration made here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bridgehead::proto::demo::FILE_DESCRIPTOR_SET;
use serde_json::{Map, Value, json};

use crate::failure::{Context as _, Failure};
use crate::processes::Process;

pub(crate) const BRIDGEHEAD: &str = env!("CARGO_BIN_EXE_bridgehead");
/// The method that is called, as clients name it.
pub(crate) const METHOD: &str = "/v1/relation/getFriendList";
/// Takes large requests.
pub(crate) const LARGE_METHOD: &str = "/v1/msg/sendMsgList";
/// How long a gateway may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a gateway differs from the others.
#[derive(Debug, Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) routes: usize,
    pub(crate) tls: bool,
    /// CPUs that it may use; empty: all.
    pub(crate) cpus: &'a [usize],
    pub(crate) ping_interval: &'static str,
    /// The words of a command that runs the gateway; empty: none.
    pub(crate) under: &'a [&'a str],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { routes: 10, tls: false, cpus: &[], ping_interval: "25s", under: &[] }
    }
}

/// A running gateway. Dropping it ends it.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) push_url: String,
}

/// Files that all gateways of a run share.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes keys, a certificate and descriptors.
    pub(crate) fn make(path: &Path) -> Result<Self, Failure> {
        let keygen = Command::new(BRIDGEHEAD).arg("keygen").current_dir(path).output();
        let keygen = keygen.context(format!("cannot start {BRIDGEHEAD}"))?;
        if !keygen.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&keygen.stderr)));
        }
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]);
        let made = made.context("cannot make a certificate")?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files: [(&str, &[u8]); 3] = [
            ("services.bin", FILE_DESCRIPTOR_SET),
            ("tls.crt", certificate.as_bytes()),
            ("tls.key", key.as_bytes()),
        ];
        for (name, content) in files {
            fs::write(path.join(name), content).context(format!("cannot write {name}"))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// Starts a gateway before a service, and waits until it listens.
    pub(crate) fn start(&self, service: SocketAddr, setup: &Setup<'_>) -> Result<Gateway, Failure> {
        // The generator finds the methods in the file that it is started beside.
        let file = self.0.join("routes.yaml");
        // JSON is YAML.
        fs::write(&file, configuration(service, setup).to_string())
            .context("cannot write routes.yaml")?;
        let cpus: Vec<_> = setup.cpus.iter().map(ToString::to_string).collect();
        let cpus = cpus.join(",");
        let pinned = ["taskset", "-c", &cpus];
        let pinned = if setup.cpus.is_empty() { &[][..] } else { &pinned[..] };
        let serve = [BRIDGEHEAD, "serve", "-c", "routes.yaml"];
        let mut words = pinned.iter().chain(setup.under).chain(&serve);
        let mut command = Command::new(words.next().unwrap_or(&BRIDGEHEAD));
        command.args(words).current_dir(&self.0);
        let mut process = Process::start("the gateway", &mut command)?;
        let push = listening(&mut process, "push API listening")?;
        let clients = listening(&mut process, ": listening")?;
        let scheme = if setup.tls { "wss" } else { "ws" };
        Ok(Gateway {
            process,
            url: format!("{scheme}://{clients}/ws"),
            push_url: format!("http://{push}"),
        })
    }
}

impl Gateway {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The address in the first event with these words.
fn listening(process: &mut Process, words: &str) -> Result<String, Failure> {
    process.error_line(words, PATIENCE, |line| {
        let (_, rest) = line.split_once(words)?.1.split_once("address=")?;
        rest.split_whitespace().next().map(str::to_owned)
    })
}

/// All but the routes is as it comes: logs, metadata, identity.
fn configuration(service: SocketAddr, setup: &Setup<'_>) -> Value {
    let rpc = "pb.relationService/GetFriendList";
    let mut routes = Map::new();
    routes.insert(METHOD.into(), rpc.into());
    routes.insert(LARGE_METHOD.into(), "pb.msgService/SendMsgListAsync".into());
    for nth in routes.len()..setup.routes {
        routes.insert(format!("/v1/service{}/method{nth}", nth % 100), rpc.into());
    }
    let mut edge = json!({ "listen": "127.0.0.1:0" });
    if setup.tls {
        edge["tls"] = json!({ "cert": "tls.crt", "key": "tls.key" });
    }
    json!({
        "edge": edge,
        "session": {
            "private_key": "session.pem",
            "ping_interval": setup.ping_interval,
            // All come at once, and no client should be refused for waiting.
            "handshake_timeout": "60s",
        },
        "auth": { "none": {} },
        "upstreams": { "service": {
            "address": format!("http://{service}"),
            "descriptors": ["services.bin"],
            "routes": routes,
        } },
        "push": { "listen": "127.0.0.1:0" },
        "drain": { "delay": "0s", "period": "0s" },
    })
}
