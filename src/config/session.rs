//! The `session` section: limits, rules and timeouts of a client session.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::{FilePath, NonEmpty, Platform, schema_of};
use super::units::{Interval, Size};

/// Limits and rules of a client session.
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
    /// The field of setCxnParams that identifies a device: `deviceId`, or `packageId` for
    /// clients that all send the same `deviceId`. The gateway ignores the other field.
    pub device_id_from: DeviceIdFrom,
    /// How long a new connection has for a valid `setCxnParams`.
    #[serde(with = "Interval")]
    pub handshake_timeout: Duration,
    /// How long a session may stay without a login, after its `setCxnParams`.
    #[serde(with = "Interval")]
    pub login_timeout: Duration,
    /// How often an idle client is pinged.
    #[serde(with = "Interval")]
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered before the session is closed.
    #[serde(with = "Interval")]
    pub pong_timeout: Duration,
    /// Requests of one session that may wait for an answer at once. Further ones
    /// wait their turn: up to 64 KiB are read ahead for pings behind them, and
    /// the rest stays in the socket.
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
        let platforms = ["ios", "android", "ipad", "web", "macos", "windows", "linux"];
        SessionConfig {
            private_key: None,
            require_encryption: false,
            platforms: platforms.map(str::to_owned).to_vec(),
            device_id_from: DeviceIdFrom::DeviceId,
            handshake_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_mins(30),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            max_in_flight: 128,
            outbox: 1 << 20,
            one_session_per: OneSessionPer::By(Rivals::Device),
        }
    }
}

/// The field of setCxnParams that identifies a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceIdFrom {
    /// `deviceId` of setCxnParams.
    DeviceId,
    /// `packageId` of setCxnParams.
    PackageId,
}

/// Which older session of the same user a new login closes: the newest wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneSessionPer {
    /// The properties that the two sessions share.
    By(Rivals),
    /// Those of the same user and class of platforms: the platforms of each
    /// class, by a name of your choice. A platform in no class is one by itself.
    Classes(
        #[schemars(
            with = "IndexMap<String, Class>",
            extend("propertyNames" = schema_of::<NonEmpty>(), "minProperties" = 1),
        )]
        IndexMap<String, Vec<String>>,
    ),
}

/// The platforms of one class.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
#[expect(dead_code, reason = "a schema, and no value")]
struct Class(#[schemars(length(min = 1), extend("uniqueItems" = true))] Vec<Platform>);

/// The properties that an older session shares with the login that closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rivals {
    /// The one of the same user, platform and device.
    Device,
    /// Those of the same user and platform.
    Platform,
    /// All of the same user.
    User,
    /// None: any number of sessions may be open.
    None,
}
