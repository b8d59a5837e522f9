//! Progress bars at a terminal.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::figures::rounded;
use super::traffic::desk::Progress;

/// How often a bar moves.
const PERIOD: Duration = Duration::from_millis(200);

/// A progress bar; hidden where standard error is no terminal.
pub(super) fn bar(what: &'static str, length: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_message(what)
}

/// A bar that moves by itself until this is dropped.
pub(super) struct Moving {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

/// How long a bar is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Span {
    Time(Duration),
    Answers(u64),
}

/// Shows how many sessions are open. Must be called within a runtime.
pub(super) fn opening(sessions: usize, progress: &Arc<Progress>) -> Moving {
    let progress = Arc::clone(progress);
    moving(bar("opening sessions", sessions), move |bar| {
        bar.set_position(progress.opened.load(Ordering::Relaxed));
    })
}

/// Shows how many sessions have had their burst.
pub(super) fn bursting(requests: u64, progress: &Arc<Progress>) -> Moving {
    let length = usize::try_from(requests).unwrap_or(usize::MAX);
    let progress = Arc::clone(progress);
    moving(bar("bursts: requests answered", length), move |bar| {
        bar.set_position(progress.answers.load(Ordering::Relaxed));
    })
}

/// Shows how far a run has come, and how fast it is.
pub(super) fn running(
    progress: &Arc<Progress>,
    start: Instant,
    warmup: Duration,
    span: Span,
) -> Moving {
    let progress = Arc::clone(progress);
    let length = match span {
        Span::Time(duration) => duration.as_secs(),
        Span::Answers(answers) => answers,
    };
    let bar = bar("warming up", usize::try_from(length).unwrap_or(usize::MAX));
    let mut last = (Instant::now(), 0, None);
    moving(bar, move |bar| {
        let (now, answers) = (Instant::now(), progress.answers.load(Ordering::Relaxed));
        let since = now.duration_since(last.0).as_secs_f64().max(1e-3);
        #[expect(clippy::cast_precision_loss, reason = "no bar is that exact")]
        let rate = rounded(answers.saturating_sub(last.1) as f64 / since);
        let measured = now.saturating_duration_since(start + warmup);
        let phase = if measured.is_zero() { "warming up" } else { "measuring" };
        let before = *last.2.get_or_insert(answers);
        last = (now, answers, (!measured.is_zero()).then_some(before));
        bar.set_message(format!("{phase}, {rate} requests a second"));
        bar.set_position(match span {
            Span::Time(_) => measured.as_secs(),
            Span::Answers(_) => answers - before,
        });
    })
}

/// Shows how much of a wait is over.
pub(super) fn waiting(what: &'static str, wait: Duration) -> Moving {
    let started = Instant::now();
    let seconds = usize::try_from(wait.as_secs()).unwrap_or(usize::MAX);
    moving(bar(what, seconds), move |bar| bar.set_position(started.elapsed().as_secs()))
}

fn moving(bar: ProgressBar, mut step: impl FnMut(&ProgressBar) + Send + 'static) -> Moving {
    let moved = bar.clone();
    let task = tokio::spawn(async move {
        // A hidden bar would cost something for nothing.
        while !moved.is_hidden() {
            step(&moved);
            tokio::time::sleep(PERIOD).await;
        }
    });
    Moving { bar, task }
}
