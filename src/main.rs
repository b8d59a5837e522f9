//! The `bridgehead` binary: see [`bridgehead::cli`].

use std::process::ExitCode;

/// Idle sessions are many small allocations; glibc's allocator fragments on them.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    bridgehead::cli::run()
}
