//! The gateway as a process of its own, seen from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridgehead::proto::push::ListSessionsRequest;
use bridgehead::proto::push::push_service_client::PushServiceClient;
use tokio::time::sleep;

use crate::services::Services;

/// How long what is to happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Memory may be larger than before by this much, in KiB: the allocator keeps
/// some, and a busy machine returns it late.
const MORE_MEMORY: u64 = 12 * 1024;

pub struct Gateway {
    process: Child,
    pub url: String,
    pub push_url: String,
    panics: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

/// What the process holds.
#[derive(Debug)]
pub struct Usage {
    /// Resident memory in KiB.
    memory: u64,
    descriptors: usize,
}

impl Gateway {
    pub fn start(services: &Services) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routes.yaml");
        let config = format!(
            "edge: {{ listen: 127.0.0.1:0 }}\n\
             auth: {{ none: {{}} }}\n\
             session: {{ outbox: 16KiB, ping_interval: 300ms, pong_timeout: 700ms }}\n\
             push: {{ listen: 127.0.0.1:0 }}\n\
             drain: {{ delay: 0s, period: 1s }}\n\
             log: {{ format: json }}\n\
             upstreams:\n  soak:\n    address: {}\n    descriptors: [{}]\n    \
             routes: {{ /say: soak.Echo/Say }}\n",
            services.address,
            services.descriptors.display(),
        );
        fs::write(&file, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_bridgehead"))
            .args(["serve", "-c"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut address = |message: &str| loop {
            let line = lines.next().unwrap().unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == message {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        let push_url = format!("http://{}", address("push API listening"));
        let url = format!("ws://{}/ws", address("listening"));
        let panics = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let panics = Arc::clone(&panics);
            move || {
                for line in lines.map_while(Result::ok).filter(|line| line.contains("panicked")) {
                    panics.lock().unwrap().push(line);
                }
            }
        });
        Self { process, url, push_url, panics, _folder: folder }
    }

    pub fn usage(&self) -> Usage {
        let proc = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let memory = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let descriptors = fs::read_dir(format!("{proc}/fd")).unwrap().count();
        Usage { memory, descriptors }
    }

    /// Waits until the registry is empty.
    pub async fn wait_empty(&self) {
        let mut api = PushServiceClient::connect(self.push_url.clone()).await.unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let sessions = api.list_sessions(ListSessionsRequest::default()).await.unwrap();
            let Some(left) = sessions.into_inner().message().await.unwrap() else { return };
            assert!(Instant::now() < end, "still in the registry: {left:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the process holds no more than before.
    pub async fn wait_usage(&self, before: &Usage) {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.usage();
            let is_back =
                now.memory <= before.memory + MORE_MEMORY && now.descriptors <= before.descriptors;
            if is_back {
                println!("before {before:?}, after {now:?}");
                return;
            }
            assert!(Instant::now() < end, "before {before:?}, after {now:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// SIGTERM: it must end well, and never have panicked.
    pub async fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{status}");
        assert!(self.panics.lock().unwrap().is_empty(), "{:?}", self.panics);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Of a test that has failed; nothing to do for one that has ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
