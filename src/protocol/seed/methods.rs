//! The methods that the gateway answers itself, and their messages.

use prost::Message as _;

use super::cipher::Iv;
use super::key_offer::{KeyExchange, KeyOffer, WrappedIv};
use crate::proto::session::{SetCxnParamsReq, SetUserParamsReq};
use crate::protocol::{
    Control, Credentials, Description, Incoming, Malformed, Request, RequestHead,
};

/// Describes the device, and may turn encryption on.
pub const SET_CXN_PARAMS: &str = "/v1/conn/white/setCxnParams";
/// Logs in.
pub const SET_USER_PARAMS: &str = "/v1/conn/white/setUserParams";
/// A sign of life.
pub const KEEP_ALIVE: &str = "/v1/conn/keepAlive";

/// The methods that the gateway answers itself. No route can have their names.
pub const RESERVED: [&str; 3] = [SET_CXN_PARAMS, SET_USER_PARAMS, KEEP_ALIVE];

/// The meaning of a request. `server_iv`: the gateway's own IV, where it chooses
/// the IV.
pub(super) fn incoming(request: Request, server_iv: Option<Iv>) -> Incoming {
    let control = match &*request.method {
        SET_CXN_PARAMS => Control::Describe(description(&request, server_iv).map(Box::new)),
        SET_USER_PARAMS => Control::LogIn(credentials(&request).map(Box::new)),
        KEEP_ALIVE => Control::KeepAlive,
        _ => return Incoming::Call(request),
    };
    Incoming::Control(RequestHead::of(&request), control)
}

fn description(request: &Request, server_iv: Option<Iv>) -> Result<Description, Malformed> {
    let params = SetCxnParamsReq::decode(request.data.clone())
        .map_err(|_| Malformed("not a SetCxnParamsReq"))?;
    let iv = match server_iv {
        // The client's own is ignored.
        Some(iv) => params.aes_key.is_some().then_some(WrappedIv::Gateway(iv)),
        None => params.aes_iv.map(WrappedIv::Client),
    };
    let key = match (params.aes_key, iv) {
        (Some(aes_key), Some(iv)) => KeyOffer::Complete(KeyExchange { aes_key, iv }),
        (None, None) => KeyOffer::Absent,
        _ => KeyOffer::Incomplete,
    };
    Ok(Description {
        package_id: params.package_id,
        platform: params.platform,
        device_id: params.device_id,
        device_model: params.device_model,
        os_version: params.os_version,
        app_version: params.app_version,
        language: params.language,
        network_used: params.network_used,
        key,
    })
}

fn credentials(request: &Request) -> Result<Credentials, Malformed> {
    let SetUserParamsReq { user_id, token, .. } = SetUserParamsReq::decode(request.data.clone())
        .map_err(|_| Malformed("not a SetUserParamsReq"))?;
    Ok(Credentials { user_id, token })
}
