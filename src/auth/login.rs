//! The data of a login.

use std::fmt;

/// The data that a client sends about itself when it logs in, and the gateway's
/// own data about it. Unknown data are empty.
#[derive(Clone, Copy, Default)]
pub struct Login<'a> {
    /// The claimed user.
    pub user_id: &'a str,
    /// The proof of it. A secret: never logged, never part of a reason.
    pub token: &'a str,
    /// `ios`, `web`, …
    pub platform: &'a str,
    /// The device, as the client names it.
    pub device_id: &'a str,
    /// The device's model.
    pub device_model: &'a str,
    /// The version of the device's operating system.
    pub os_version: &'a str,
    /// The version of the client application.
    pub app_version: &'a str,
    /// Changes with every install.
    pub package_id: &'a str,
    /// The client's language.
    pub language: &'a str,
    /// The network that the client is on, in its own words.
    pub network_used: &'a str,
    /// The client's IP address.
    pub remote_ip: &'a str,
    /// The `User-Agent` of the WebSocket upgrade.
    pub user_agent: &'a str,
    /// The gateway's name for the session.
    pub session_id: &'a str,
    /// When its WebSocket was opened, in milliseconds of Unix time.
    pub connected_at: u64,
    /// The worker that the session lives on: an RPC goes over its connections.
    pub worker: usize,
}

impl Login<'_> {
    /// The client's data about itself, except for its platform and device.
    pub(super) fn described(&self) -> [&str; 6] {
        [
            self.device_model,
            self.os_version,
            self.app_version,
            self.package_id,
            self.language,
            self.network_used,
        ]
    }
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user_id", &self.user_id)
            .field("platform", &self.platform)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}
