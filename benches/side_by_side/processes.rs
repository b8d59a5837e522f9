//! The processes that take part: each is started, listened to and ended here. Their
//! work is defined elsewhere.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::failure::{Context as _, Failure};

/// Lines of standard error that are kept.
const KEPT: usize = 200;
/// Lines of them that an error shows.
const TOLD: usize = 20;

/// A running process. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a command, its name being for people.
    pub(crate) fn start(name: impl Into<String>, command: &mut Command) -> Result<Self, Failure> {
        let name = name.into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .context(format!("cannot start {name} ({})", command.get_program().display()))?;
        let (lines, output) = channel();
        let errors = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            read(stdout, move |line| lines.send(line).is_ok());
        }
        if let Some(stderr) = child.stderr.take() {
            let errors = Arc::clone(&errors);
            read(stderr, move |line| {
                let mut kept = errors.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= KEPT {
                    // The first lines say where it listens, the last why it ended.
                    kept.remove(KEPT / 2);
                }
                kept.push(line);
                true
            });
        }
        let input = child.stdin.take();
        Ok(Self { name, child, input, output, errors })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let told = writeln!(input, "{line}").and_then(|()| input.flush());
        told.map_err(|error| self.failure(&format!("does not listen any more: {error}")))
    }

    /// The next line of its standard output, which is JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, Failure> {
        match self.output.recv_timeout(patience) {
            Ok(line) => self.parse(&line),
            Err(_) => Err(self.failure("did not say what it was asked for")),
        }
    }

    /// Waits for something in its standard error.
    pub(crate) fn error_line<T>(
        &mut self,
        what: &str,
        patience: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let found = {
                let lines = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                lines.iter().find_map(|line| find(line))
            };
            if let Some(found) = found {
                return Ok(found);
            }
            let has_ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if has_ended || Instant::now() > deadline {
                return Err(self.failure(&format!("did not say `{what}`")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has ended well, and reads all of its output as JSON.
    pub(crate) fn result<T: DeserializeOwned>(mut self, patience: Duration) -> Result<T, Failure> {
        let text = self.output(patience)?;
        match self.child.wait() {
            Ok(status) if status.success() => self.parse(&text),
            _ => Err(self.failure("failed")),
        }
    }

    /// The same where it may have failed after its report.
    pub(crate) fn report<T: DeserializeOwned>(mut self, patience: Duration) -> Result<T, Failure> {
        let text = self.output(patience)?;
        let _status = self.child.wait();
        self.parse(&text)
    }

    /// All that it prints until its end.
    fn output(&mut self, patience: Duration) -> Result<String, Failure> {
        let deadline = Instant::now() + patience;
        self.input = None;
        let mut text = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(line) => text = text + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => return Ok(text),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure("does not come to an end"));
                }
            }
        }
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub(crate) fn terminate(mut self, patience: Duration) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process has a number")?;
        kill_process(pid, Signal::TERM).context(format!("cannot end {}", self.name))?;
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() > deadline {
                return Err(self.failure("does not end"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A failure, with the end of its standard error.
    pub(crate) fn failure(&mut self, what: &str) -> Failure {
        // Its last lines may still be on their way.
        thread::sleep(Duration::from_millis(50));
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("it has ended: {status}"),
            _ => "it is still running".to_owned(),
        };
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let told = errors.get(errors.len().saturating_sub(TOLD)..).unwrap_or_default().join("\n  ");
        let said = if told.is_empty() { "nothing".to_owned() } else { format!("\n  {told}") };
        Failure::new(format!("{} {what}; {state}; its standard error: {said}", self.name))
    }

    fn parse<T: DeserializeOwned>(&mut self, text: &str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| {
            self.failure(&format!("printed what is not expected: {error}: {text}"))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Gives each line to a function, on a thread, until that has enough.
fn read(from: impl Read + Send + 'static, mut line: impl FnMut(String) -> bool + Send + 'static) {
    thread::spawn(move || {
        for text in BufReader::new(from).lines().map_while(Result::ok) {
            if !line(text) {
                return;
            }
        }
    });
}
