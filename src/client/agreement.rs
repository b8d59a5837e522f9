//! The agreement of a client and its gateway on the session's cipher.

use prost::Message as _;

use crate::proto::session::{AfterConnectBody, PushBody, PushEvent, SetCxnParamsReq};
use crate::protocol::seed::rsa::WrapError;
use crate::protocol::seed::{Cipher, PublicKey, cipher};

/// The secrets that a client has sent to the gateway, from which both derive the
/// session's cipher.
pub(super) struct Agreement {
    key_secret: String,
    iv_secret: String,
}

impl Agreement {
    /// Makes secrets for a session, and puts them into the device's setCxnParams.
    pub(super) fn new(device: &mut SetCxnParamsReq, key: &PublicKey) -> Result<Self, WrapError> {
        let secret = || format!("{:032x}", rand::random::<u128>());
        let (key_secret, iv_secret) = (secret(), secret());
        device.aes_key = Some(key.wrap_secret(key_secret.as_bytes())?.into());
        device.aes_iv = Some(key.wrap_secret(iv_secret.as_bytes())?.into());
        Ok(Self { key_secret, iv_secret })
    }

    /// The cipher of a session whose gateway has chosen the IV with `server_iv`, or
    /// has left it to the client.
    pub(super) fn cipher(&self, server_iv: Option<&str>) -> Cipher {
        let iv = server_iv.unwrap_or(&self.iv_secret);
        Cipher::with_iv(self.key_secret.as_bytes(), cipher::iv_of(iv.as_bytes()))
    }
}

/// The gateway's secret for the IV, if `frame`, the first behind the greeting,
/// carries one. Such a frame is never encrypted.
pub(super) fn server_iv(frame: &[u8]) -> Option<String> {
    let body = PushBody::decode(frame).ok()?;
    let is_that = body.event == PushEvent::AfterConnect as i32;
    let chosen = is_that.then(|| AfterConnectBody::decode(body.data)).and_then(Result::ok)?;
    (!chosen.aes_iv.is_empty()).then_some(chosen.aes_iv)
}
