//! The `session` section: what one client session may do, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::{FilePath, Platform};
use super::units::{Interval, Size};

/// What one client session may do, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// RSA private key (PKCS#8 or PKCS#1 PEM) for encrypted sessions. Absent:
    /// clients that ask for encryption are refused.
    #[schemars(with = "Option<FilePath>")]
    pub private_key: Option<PathBuf>,
    /// Refuse sessions that do not turn encryption on.
    pub require_encryption: bool,
    /// The platforms that a client may name.
    #[schemars(with = "Vec<Platform>", length(min = 1), extend("uniqueItems" = true))]
    pub platforms: Vec<String>,
    /// How long a new connection has for a valid `setCxnParams`.
    #[serde(with = "Interval")]
    pub handshake_timeout: Duration,
    /// How long a session may then stay without a login.
    #[serde(with = "Interval")]
    pub login_timeout: Duration,
    /// How often an idle client is pinged.
    #[serde(with = "Interval")]
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered before the session is closed.
    #[serde(with = "Interval")]
    pub pong_timeout: Duration,
    /// Requests of one session that may wait for an answer at once; beyond it
    /// the socket is not read.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_in_flight: u32,
    /// Bytes that may be queued for one session before it counts as too slow.
    #[serde(with = "Size")]
    #[schemars(range(min = 4096, max = 1_073_741_824))]
    pub outbox: u64,
    /// Which older session a new login closes.
    pub one_session_per: OneSessionPer,
}

impl Default for SessionConfig {
    fn default() -> Self {
        let platforms = ["ios", "android", "web", "macos", "windows", "linux"];
        SessionConfig {
            private_key: None,
            require_encryption: false,
            platforms: platforms.map(str::to_owned).to_vec(),
            handshake_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_mins(30),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            max_in_flight: 128,
            outbox: 1 << 20,
            one_session_per: OneSessionPer::Device,
        }
    }
}

/// Which older session of the same user a new login closes: the newest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OneSessionPer {
    /// The one of the same user, platform and device.
    Device,
    /// Those of the same user and platform.
    Platform,
    /// All of the same user.
    User,
    /// None: any number of sessions may be open.
    None,
}
