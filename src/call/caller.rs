//! The caller: its identity, the state of its login, and the metadata that its
//! calls share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::metadata;
use crate::auth::{self, EachRequest, Judgement, Judgements};
use crate::protocol::Description;
use crate::routing::identity::{Layout, Member};
use crate::trace::Parent;
use crate::upstream::{Metadata, Rules};

/// Different layouts whose encoding a session keeps. Services nearly always
/// share one identity message.
const MAX_ENCODED: usize = 4;

/// Upstreams with rules of their own whose metadata a session keeps.
const MAX_CHANGED: usize = 8;

/// The origin of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's address, not a proxy's.
    pub remote_ip: IpAddr,
    /// The `User-Agent` header; may be empty.
    pub user_agent: String,
    /// The trace that its calls continue, if it sent one.
    pub trace_parent: Option<Box<Parent>>,
}

/// A caller: anonymous at first, until it describes its device and logs in.
pub struct Caller {
    session_id: Box<str>,
    ip: Arc<str>,
    user_agent: Box<str>,
    device: Option<Box<Device>>,
    user: Option<Box<User>>,
    connected_at: SystemTime,
    /// The client's place in a trace of its own, if it sent one.
    trace_parent: Option<Box<Parent>>,
    /// Boxed and made anew when the identity changes: an idle session pays
    /// for one pointer.
    prepared: Option<Box<Prepared>>,
}

/// The client's description of its device.
struct Device {
    package_id: Box<str>,
    platform: Arc<str>,
    device_id: Arc<str>,
    device_model: Box<str>,
    os_version: Box<str>,
    app_version: Arc<str>,
    language: Arc<str>,
    network_used: Box<str>,
}

/// An accepted login.
struct User {
    user_id: Arc<str>,
    token: Box<str>,
    expires_at: Option<SystemTime>,
}

/// The parts of a logged-in caller that others may share.
#[derive(Debug, Clone, Copy)]
pub struct KnownUser<'a> {
    /// The user.
    pub user_id: &'a Arc<str>,
    /// `ios`, `web`, …
    pub platform: &'a Arc<str>,
    /// The device, as the client names it.
    pub device_id: &'a Arc<str>,
    /// The version of the client application.
    pub app_version: &'a Arc<str>,
    /// The client's language.
    pub language: &'a Arc<str>,
    /// The client's IP address.
    pub remote_ip: &'a Arc<str>,
    /// The time when the connection was opened.
    pub connected_at: SystemTime,
}

/// The parts that all calls of the caller share.
struct Prepared {
    metadata: Arc<Metadata>,
    /// The same metadata under the rules of upstreams that have some.
    changed: Vec<(Arc<Rules>, Arc<Metadata>)>,
    encoded: Vec<(Arc<Layout>, Bytes)>,
    /// The latest results, where each request is verified.
    judgements: Judgements,
}

impl Caller {
    /// An anonymous caller. `session_id` may be empty: there is no session.
    pub fn new(client: Client, session_id: String) -> Self {
        Self {
            session_id: session_id.into(),
            ip: client.remote_ip.to_string().into(),
            user_agent: client.user_agent.into(),
            device: None,
            user: None,
            connected_at: SystemTime::now(),
            trace_parent: client.trace_parent,
            prepared: None,
        }
    }

    /// Replaces the description of the device.
    pub fn describe(&mut self, device: Description) {
        self.prepared = None;
        self.device = Some(Box::new(Device {
            package_id: device.package_id.into(),
            platform: device.platform.into(),
            device_id: device.device_id.into(),
            device_model: device.device_model.into(),
            os_version: device.os_version.into(),
            app_version: device.app_version.into(),
            language: device.language.into(),
            network_used: device.network_used.into(),
        }));
    }

    /// The caller has logged in. `expires_at`: the end of the login; `None`: never.
    pub fn log_in(&mut self, user_id: &str, token: &str, expires_at: Option<SystemTime>) {
        self.prepared = None;
        self.user =
            Some(Box::new(User { user_id: user_id.into(), token: token.into(), expires_at }));
    }

    /// The login was verified again, and expires at this time.
    pub fn extend_login(&mut self, expires_at: Option<SystemTime>) {
        if let Some(user) = &mut self.user {
            user.expires_at = expires_at;
        }
    }

    /// Whether there was a login, which may have expired.
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whether the session is logged in, and the login has not expired.
    pub fn login_at(&self, now: SystemTime) -> LoginState {
        match self.user.as_ref().map(|user| user.expires_at) {
            None => LoginState::Missing,
            Some(Some(at)) if at <= now => LoginState::Expired,
            Some(_) => LoginState::Valid,
        }
    }

    /// Whether the client has described its device as far as a login needs it.
    pub fn has_device(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| !device.platform.is_empty() && !device.device_id.is_empty())
    }

    /// The address, the device and the user, once the caller has logged in.
    pub fn user(&self) -> Option<KnownUser<'_>> {
        let (device, user) = (self.device.as_ref()?, self.user.as_ref()?);
        Some(KnownUser {
            user_id: &user.user_id,
            platform: &device.platform,
            device_id: &device.device_id,
            app_version: &device.app_version,
            language: &device.language,
            remote_ip: &self.ip,
            connected_at: self.connected_at,
        })
    }

    /// The session as verifiers of logins and hooks see it.
    pub fn as_login(&self, worker: usize) -> auth::Login<'_> {
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
    pub fn trace_parent(&self) -> Option<&Parent> {
        self.trace_parent.as_deref()
    }

    /// The id of the session; empty: there is none.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The value of a member; empty if it is not known (yet).
    pub fn value(&self, member: Member) -> &str {
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

    /// Frees the parts that the next call makes again.
    pub fn rest(&mut self) {
        self.prepared = None;
    }

    /// The gRPC metadata that all calls of the session share, of an upstream with
    /// these rules.
    pub fn metadata(&mut self, rules: Option<&Arc<Rules>>) -> Arc<Metadata> {
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
    pub fn encoded(&mut self, layout: &Arc<Layout>) -> Bytes {
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

    /// The verifier's judgement of a request of this method.
    pub fn judge(&mut self, each: &EachRequest, worker: usize, method: &str) -> Judgement {
        let mut judgements = std::mem::take(&mut self.prepare().judgements);
        let judgement = each.judge(&self.as_login(worker), method, &mut judgements);
        self.prepare().judgements = judgements;
        judgement
    }

    fn prepare(&mut self) -> &mut Prepared {
        let prepared = self.prepared.take().unwrap_or_else(|| {
            let metadata =
                Arc::new(metadata::of_session(|member| self.value(member), self.trace_parent()));
            let (changed, encoded) = (Vec::new(), Vec::new());
            let judgements = Judgements::default();
            Box::new(Prepared { metadata, changed, encoded, judgements })
        });
        self.prepared.insert(prepared)
    }
}

/// Whether a caller may call methods that are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginState {
    /// Logged in.
    Valid,
    /// Not logged in.
    Missing,
    /// The login has expired.
    Expired,
}
