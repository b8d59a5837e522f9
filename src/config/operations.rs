//! The sections that concern running the gateway: `admin`, `drain` and `log`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::ListenAddress;
use super::units::Delay;

/// The listener for health, readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// IP address and port to listen on.
    #[schemars(with = "ListenAddress")]
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)) }
    }
}

/// How the gateway goes away when it is told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// Between failing readiness and turning new connections away, so that load
    /// balancers notice first.
    #[serde(with = "Delay")]
    pub delay: Duration,
    /// The time over which open sessions are closed.
    #[serde(with = "Delay")]
    pub period: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        DrainConfig { delay: Duration::from_secs(5), period: Duration::from_secs(20) }
    }
}

/// What is logged, and how it looks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important level that is still logged.
    pub level: LogLevel,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important level that is still logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what may become one.
    Warn,
    /// And what the gateway does.
    Info,
    /// And a line for every request.
    Debug,
    /// And everything else.
    Trace,
}
