//! Running commands: a demo, its clients, and their output.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BRIDGEHEAD: &str = env!("CARGO_BIN_EXE_bridgehead");

/// A command that goes on until it is stopped.
pub(crate) struct Running {
    process: Child,
    pub(crate) out: BufReader<ChildStdout>,
    pub(crate) err: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let err = BufReader::new(process.stderr.take().unwrap());
        Self { process, out, err }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// As Ctrl-C does it.
    pub(crate) fn interrupt(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    /// Waits for the end: the exit code, and the rest of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut error = String::new();
        self.err.read_to_string(&mut error).unwrap();
        (self.process.wait().unwrap().code(), error)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// A running demo, and a folder to call it from.
pub(crate) struct Demo {
    pub(crate) process: Running,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    pub(crate) push_url: String,
    /// Where it says whether it is ready.
    pub(crate) readiness: String,
    /// The commands that it proposes.
    pub(crate) hints: Vec<String>,
    pub(crate) public_key: PathBuf,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anywhere =
            ["--listen", "--services", "--push", "--admin"].map(|flag| [flag, "127.0.0.1:0"]);
        let mut command = Command::new(BRIDGEHEAD);
        command.arg("demo").args(anywhere.as_flattened()).arg("--key-dir");
        command.arg(folder.path().join("keys")).current_dir(folder.path());
        let mut process = Running::start(&mut command);
        drain(&mut process);
        let (mut hints, mut readiness) = (Vec::new(), String::new());
        loop {
            let line = process.line();
            if line.starts_with("  ") {
                hints.push(line.trim().to_owned());
            } else if let Some(place) = line.strip_prefix("health: ") {
                place.split(',').next().unwrap().clone_into(&mut readiness);
            } else if line.contains("Ctrl-C") {
                break;
            }
        }
        let after = |flag: &str| {
            let hint = hints.iter().find_map(|hint| hint.split_once(flag)).unwrap();
            hint.1.split(' ').next().unwrap().to_owned()
        };
        let (url, push_url) = (after("--url "), after("--push-url "));
        let public_key = folder.path().join("keys/session.pub.pem");
        Self { process, folder, url, push_url, readiness, hints, public_key }
    }

    /// A command that knows where the demo is.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bridgehead(arguments, self.folder.path());
        command.env("BRIDGEHEAD_URL", &self.url).env("BRIDGEHEAD_PUSH_URL", &self.push_url);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        self.run(&[&["call"], arguments].concat())
    }

    /// A client that prints its pushes, once it is logged in.
    pub(crate) fn listen(&self, user: &str, more: &[&str]) -> Running {
        let arguments = ["call", "/v1/conn/keepAlive", "--listen", "--user", user];
        let mut listener = Running::start(&mut self.command(&[&arguments, more].concat()));
        assert_eq!(listener.line(), "{}", "{user} is not logged in");
        listener
    }
}

/// Drains a process's standard error, lest the process blocks on it.
pub(crate) fn drain(process: &mut Running) {
    let (read, write) = std::io::pipe().unwrap();
    drop(write);
    // Nothing is left to read here.
    let nothing = ChildStderr::from(std::os::fd::OwnedFd::from(read));
    let mut log = std::mem::replace(&mut process.err, BufReader::new(nothing));
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
}

/// A command in a folder, which nothing in the environment steers.
pub(crate) fn bridgehead(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(BRIDGEHEAD);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for name in ["URL", "TOKEN", "PUSH_URL", "PUSH_TOKEN"] {
        command.env_remove(format!("BRIDGEHEAD_{name}"));
    }
    command
}

/// Runs a command that reads `input`.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    process.wait_with_output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}

/// The output of a command that did not fail.
#[track_caller]
pub(crate) fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", error(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", error(output));
    assert!(error(output).contains(says), "{}", error(output));
    assert!(output.stdout.is_empty());
}
