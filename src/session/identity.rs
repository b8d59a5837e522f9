//! Who a session belongs to, and what calls say of it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::request::Refusal;
use super::{Client, metadata};
use crate::auth::{self, EachRequest, Judgement, Judgements};
use crate::outbox::Outbox;
use crate::proto::session::SetCxnParamsReq;
use crate::registry::{Presence, SessionId};
use crate::routing::identity::{Layout, Member};
use crate::trace::Parent;
use crate::upstream::{Metadata, Rules};

/// Different layouts whose encoding a session keeps. Services nearly always
/// share one identity message.
const MAX_ENCODED: usize = 4;

/// Upstreams with rules of their own whose metadata a session keeps.
const MAX_CHANGED: usize = 8;

/// The identity of one session: empty at first, filled by the handshake.
pub(super) struct Identity {
    id: SessionId,
    session_id: Box<str>,
    ip: Arc<str>,
    user_agent: Box<str>,
    device: Option<Box<Device>>,
    user: Option<Box<User>>,
    connected_at: SystemTime,
    /// Where the client stands in a trace of its own, if it said so.
    trace_parent: Option<Box<Parent>>,
    /// Boxed and made anew when the identity changes: an idle session pays
    /// for one pointer.
    prepared: Option<Box<Prepared>>,
}

/// What setCxnParams told.
#[derive(Default)]
struct Device {
    package_id: Box<str>,
    platform: Arc<str>,
    device_id: Arc<str>,
    device_model: Box<str>,
    os_version: Box<str>,
    app_version: Arc<str>,
    language: Arc<str>,
    network_used: Box<str>,
    /// Why a later setCxnParams was refused; `None`: none was.
    refused: Option<Refusal>,
}

/// What setUserParams told, once it was accepted.
struct User {
    user_id: Arc<str>,
    token: Box<str>,
    expires_at: Option<SystemTime>,
}

/// What every call of the session shares.
struct Prepared {
    metadata: Arc<Metadata>,
    /// The same under the rules of upstreams that have some.
    changed: Vec<(Arc<Rules>, Arc<Metadata>)>,
    encoded: Vec<(Arc<Layout>, Bytes)>,
    /// What was said of its latest requests, where each is judged.
    judgements: Judgements,
}

impl Identity {
    pub(super) fn new(client: Client) -> Self {
        let id = SessionId::random();
        Self {
            id,
            session_id: id.to_string().into(),
            ip: client.remote_ip.to_string().into(),
            user_agent: client.user_agent.into(),
            device: None,
            user: None,
            connected_at: SystemTime::now(),
            trace_parent: client.trace_parent,
            prepared: None,
        }
    }

    pub(super) fn describe(&mut self, params: SetCxnParamsReq) {
        self.prepared = None;
        self.device = Some(Box::new(Device {
            package_id: params.package_id.into(),
            platform: params.platform.into(),
            device_id: params.device_id.into(),
            device_model: params.device_model.into(),
            os_version: params.os_version.into(),
            app_version: params.app_version.into(),
            language: params.language.into(),
            network_used: params.network_used.into(),
            refused: None,
        }));
    }

    /// A setCxnParams was refused; what was told before stays.
    pub(super) fn refuse_device(&mut self, why: Refusal) {
        self.device.get_or_insert_default().refused = Some(why);
    }

    /// Why the latest setCxnParams was refused; `None`: it was not.
    pub(super) fn refused_device(&self) -> Option<Refusal> {
        self.device.as_ref().and_then(|device| device.refused)
    }

    pub(super) fn log_in(&mut self, user_id: &str, token: &str, expires_at: Option<SystemTime>) {
        self.prepared = None;
        self.user =
            Some(Box::new(User { user_id: user_id.into(), token: token.into(), expires_at }));
    }

    /// The login was judged anew, and expires then.
    pub(super) fn extend_login(&mut self, expires_at: Option<SystemTime>) {
        if let Some(user) = &mut self.user {
            user.expires_at = expires_at;
        }
    }

    /// Whether there was a login, which may have expired.
    pub(super) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whether the session is logged in, and the login has not expired.
    pub(super) fn login(&self) -> Login {
        match self.user.as_ref().map(|user| user.expires_at) {
            None => Login::Missing,
            Some(Some(at)) if at <= SystemTime::now() => Login::Expired,
            Some(_) => Login::Valid,
        }
    }

    /// Whether the client has said what a login needs to know of its device.
    pub(super) fn has_device(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| !device.platform.is_empty() && !device.device_id.is_empty())
    }

    /// The session as others may see it, once it is logged in.
    pub(super) fn presence(&self, outbox: &Arc<Outbox>, encrypted: bool) -> Option<Presence> {
        let (device, user) = (self.device.as_ref()?, self.user.as_ref()?);
        Some(Presence {
            session_id: self.id,
            user_id: Arc::clone(&user.user_id),
            platform: Arc::clone(&device.platform),
            device_id: Arc::clone(&device.device_id),
            app_version: Arc::clone(&device.app_version),
            language: Arc::clone(&device.language),
            remote_ip: Arc::clone(&self.ip),
            encrypted,
            connected_at: self.connected_at,
            generation: 0,
            outbox: Arc::clone(outbox),
        })
    }

    /// The session as those see it who judge logins, or are told of them.
    pub(super) fn as_login(&self, worker: usize) -> auth::Login<'_> {
        auth::Login {
            user_id: self.value(Member::UserId),
            token: self.value(Member::Token),
            platform: self.value(Member::Platform),
            device_id: self.value(Member::DeviceId),
            device_model: self.value(Member::DeviceModel),
            os_version: self.value(Member::OsVersion),
            app_version: self.value(Member::AppVersion),
            package_id: self.value(Member::PackageId),
            language: self.value(Member::Language),
            network_used: self.value(Member::NetworkUsed),
            remote_ip: self.value(Member::Ip),
            user_agent: self.value(Member::UserAgent),
            session_id: self.session_id(),
            connected_at: self.connected_at_ms(),
            worker,
        }
    }

    fn connected_at_ms(&self) -> u64 {
        let since = self.connected_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The trace that all calls of the session continue; `None`: each begins one.
    pub(super) fn trace_parent(&self) -> Option<&Parent> {
        self.trace_parent.as_deref()
    }

    pub(super) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The value of a member; empty if it is not known (yet).
    pub(super) fn value(&self, member: Member) -> &str {
        let device = |field: fn(&Device) -> &str| self.device.as_deref().map_or("", field);
        let user = |field: fn(&User) -> &str| self.user.as_deref().map_or("", field);
        match member {
            Member::UserId => user(|user| &user.user_id),
            Member::Token => user(|user| &user.token),
            Member::DeviceModel => device(|device| &device.device_model),
            Member::DeviceId => device(|device| &device.device_id),
            Member::OsVersion => device(|device| &device.os_version),
            Member::Platform => device(|device| &device.platform),
            Member::PackageId => device(|device| &device.package_id),
            Member::AppVersion => device(|device| &device.app_version),
            Member::Language => device(|device| &device.language),
            Member::NetworkUsed => device(|device| &device.network_used),
            Member::Ip => &self.ip,
            Member::UserAgent => &self.user_agent,
            Member::SessionId => &self.session_id,
            Member::ReqId => "",
        }
    }

    /// Gives back what is made anew for the next call.
    pub(super) fn rest(&mut self) {
        self.prepared = None;
    }

    /// The gRPC metadata that all calls of the session share, of an upstream with
    /// these rules.
    pub(super) fn metadata(&mut self, rules: Option<&Arc<Rules>>) -> Arc<Metadata> {
        let Prepared { metadata, changed, .. } = self.prepare();
        let Some(rules) = rules else { return Arc::clone(metadata) };
        if let Some((_, known)) = changed.iter().find(|(known, _)| Arc::ptr_eq(known, rules)) {
            return Arc::clone(known);
        }
        if changed.len() == MAX_CHANGED {
            changed.remove(0);
        }
        let metadata = Arc::new(metadata.under(rules));
        changed.push((Arc::clone(rules), Arc::clone(&metadata)));
        metadata
    }

    /// The session's members as `layout` wants them, without the request's own.
    pub(super) fn encoded(&mut self, layout: &Arc<Layout>) -> Bytes {
        let encoded = &self.prepare().encoded;
        if let Some((_, bytes)) = encoded.iter().find(|(known, _)| Arc::ptr_eq(known, layout)) {
            return bytes.clone();
        }
        let bytes = Bytes::from(layout.encode(|member| self.value(member)));
        let encoded = &mut self.prepare().encoded;
        if encoded.len() == MAX_ENCODED {
            encoded.remove(0);
        }
        encoded.push((Arc::clone(layout), bytes.clone()));
        bytes
    }

    /// What is to be said of a request of this method.
    pub(super) fn judge(&mut self, each: &EachRequest, worker: usize, method: &str) -> Judgement {
        let mut judgements = std::mem::take(&mut self.prepare().judgements);
        let judgement = each.judge(&self.as_login(worker), method, &mut judgements);
        self.prepare().judgements = judgements;
        judgement
    }

    fn prepare(&mut self) -> &mut Prepared {
        let prepared = self.prepared.take().unwrap_or_else(|| {
            let metadata = Arc::new(metadata::of_session(self));
            let (changed, encoded) = (Vec::new(), Vec::new());
            let judgements = Judgements::default();
            Box::new(Prepared { metadata, changed, encoded, judgements })
        });
        self.prepared.insert(prepared)
    }
}

/// Whether a session may call methods that are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    Valid,
    Missing,
    Expired,
}
