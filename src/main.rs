//! The `bridgehead` command.

use std::process::ExitCode;

/// glibc's allocator keeps most of the memory that sessions of different ages
/// free.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    bridgehead::cli::run(std::env::args_os())
}
