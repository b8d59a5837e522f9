//! Destination and format of the log: one line per event, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// By the same rules as the output of commands: see `cli::output`.
fn is_colourful() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Starts logging for the whole process; later calls change nothing. The level
/// is that of Bridgehead's own events; libraries speak up from `warn` on, except
/// the NATS client: it writes an error with every attempt to connect, without
/// the server's name. `broker::cluster` logs its failures instead.
pub fn start(config: &LogConfig) {
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let libraries = if level == "error" { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{libraries},async_nats=off,bridgehead={level}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (several gateways in one process) keeps the first.
    let _kept = match config.format {
        LogFormat::Text => lines.with_ansi(is_colourful()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
