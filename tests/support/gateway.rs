//! The real gateway: `bridgehead serve` in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BRIDGEHEAD: &str = env!("CARGO_BIN_EXE_bridgehead");
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway, ended on drop.
pub(crate) struct Gateway {
    process: Child,
    folder: TempDir,
    /// The URL of the listener for clients.
    pub(crate) url: String,
    /// The URL of the Push API.
    pub(crate) push_url: String,
    log: Receiver<String>,
    read: Vec<String>,
}

impl Gateway {
    /// Starts one with this configuration, in which every `listen` is
    /// `127.0.0.1:0` and the log is in JSON.
    pub(crate) fn start(config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // JSON is YAML.
        fs::write(folder.path().join("routes.yaml"), config.to_string()).unwrap();
        let keygen = Command::new(BRIDGEHEAD).arg("keygen").current_dir(&folder).output().unwrap();
        assert!(keygen.status.success(), "{keygen:?}");
        let mut process = Command::new(BRIDGEHEAD)
            .arg("serve")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = BufReader::new(process.stderr.take().unwrap()).lines();
        let (lines, log) = channel();
        thread::spawn(move || {
            for line in printed.map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let (url, push_url) = (String::new(), String::new());
        let mut gateway = Self { process, folder, url, push_url, log, read: Vec::new() };
        gateway.push_url = format!("http://{}", gateway.address("push API listening"));
        gateway.url = format!("ws://{}/ws", gateway.address("listening"));
        gateway
    }

    /// The address in the first event with this message.
    fn address(&mut self, message: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("the gateway did not say `{message}`:\n{}", self.read.join("\n"));
            };
            self.read.push(line);
            let event: Value =
                serde_json::from_str(&self.read[self.read.len() - 1]).unwrap_or_default();
            if event["message"] == message {
                return event["address"].as_str().unwrap().to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where `session.pem` and `session.pub.pem` are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Open file descriptors now.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Its log until now.
    pub(crate) fn log(&mut self) -> String {
        self.read.extend(self.log.try_iter());
        self.read.join("\n")
    }

    /// Asks it to stop, and returns its exit code and its whole log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > deadline => panic!("the gateway does not stop"),
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        // Up to the end of the log.
        self.read.extend(self.log.iter());
        (code, self.read.join("\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}
