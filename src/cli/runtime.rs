//! Runtimes of the commands.

use super::failure::Failure;

/// Runs a command's future on a runtime beside the workers: reloads,
/// reflection, signals.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_threads(1, command)
}

/// The same with threads for work of the command's own.
pub(super) fn block_on_threads<T>(
    threads: usize,
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let outcome = runtime.block_on(command);
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
