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

/// How the gateway stops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// The time between failing readiness and refusing new connections, so that load
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

/// Level and format of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The format of a line.
    pub format: LogFormat,
    /// The least important level that is still logged.
    pub level: LogLevel,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// The format of a log line.
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
    /// Also warnings.
    Warn,
    /// Also events of the gateway.
    Info,
    /// Also a line for every request.
    Debug,
    /// Also details for debugging.
    Trace,
}
