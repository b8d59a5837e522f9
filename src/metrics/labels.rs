//! The values of labels: a few each, whatever comes. Each label is a type, since
//! a text with a typo would make one more series.

use crate::close;
use crate::proto::session::response_body::Code;

/// A label with its values.
pub trait Label: Copy + 'static {
    /// The label.
    const NAME: &'static str;
    /// Its values.
    const ALL: &'static [Self];

    /// This value as text.
    fn label(self) -> &'static str;

    /// Where this value stands in [`ALL`](Self::ALL).
    fn place(self) -> usize;
}

/// The labels of a family: one, or a pair with every combination of values.
pub trait Labels: Copy + 'static {
    /// The labels.
    const NAMES: &'static [&'static str];

    /// Every combination of values.
    fn all() -> impl Iterator<Item = Self>;

    /// These values as text.
    fn values(self) -> impl AsRef<[&'static str]>;

    /// Where these values stand among [`all`](Self::all).
    fn place(self) -> usize;
}

impl<L: Label> Labels for L {
    const NAMES: &'static [&'static str] = &[L::NAME];

    fn all() -> impl Iterator<Item = Self> {
        L::ALL.iter().copied()
    }

    fn values(self) -> impl AsRef<[&'static str]> {
        [self.label()]
    }

    fn place(self) -> usize {
        Label::place(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME];

    fn all() -> impl Iterator<Item = Self> {
        A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| (*a, *b)))
    }

    fn values(self) -> impl AsRef<[&'static str]> {
        [self.0.label(), self.1.label()]
    }

    fn place(self) -> usize {
        self.0.place() * B::ALL.len() + self.1.place()
    }
}

/// Declares an enum that is a [`Label`]: the label's name behind the enum's, and
/// each value behind its variant.
macro_rules! labels {
    ($(#[$about:meta])* $vis:vis enum $type:ident: $name:literal {
        $($(#[$meaning:meta])* $variant:ident = $label:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $type {
            $($(#[$meaning])* $variant,)+
        }

        impl $crate::metrics::Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use labels;

labels! {
    /// The reason why a connection becomes no session.
    pub enum ConnectionRefusal: "reason" {
        /// There are as many as there may be in all.
        Full = "full",
        /// There are as many as there may be from one address.
        PerIp = "per_ip",
        /// There are even too many to be closed with a reason.
        Dropped = "dropped",
        /// A PROXY header that is missing, wrong or not allowed.
        ProxyProtocol = "proxy_protocol",
        /// The TLS handshake failed.
        Tls = "tls",
        /// TLS or HTTP took too long.
        Timeout = "timeout",
        /// The request does not open a WebSocket.
        Http = "http",
        /// The request is from a foreign origin.
        Origin = "origin",
    }
}

labels! {
    /// The result of verifying a login.
    pub enum LoginOutcome: "outcome" {
        /// The client is the user.
        Accepted = "accepted",
        /// The client has not proven it.
        Refused = "refused",
        /// It cannot be verified right now.
        Unavailable = "unavailable",
    }
}

labels! {
    /// The reason why a session that has logged in is verified again.
    pub enum ReviewCause: "cause" {
        /// It describes itself as another device.
        Device = "device",
        /// The login is verified regularly.
        Recheck = "recheck",
        /// Each request is verified.
        Request = "request",
    }
}

labels! {
    /// The result of a handshake that turns encryption on.
    pub enum HandshakeOutcome: "outcome" {
        /// There is a cipher.
        Done = "done",
        /// Too many wait for the RSA operation.
        Shed = "shed",
        /// A ciphertext has the wrong length.
        Malformed = "malformed",
    }
}

labels! {
    /// The result of reading the configuration again.
    pub enum ReloadOutcome: "outcome" {
        /// All of it is in use.
        Ok = "ok",
        /// It, or a file that it names, is refused.
        Refused = "refused",
    }
}

labels! {
    /// The reason why a call of the push API is refused.
    pub enum PushRefusal: "reason" {
        /// The call has no valid token.
        Unauthenticated = "unauthenticated",
        /// The arguments are invalid.
        Invalid = "invalid",
    }
}

labels! {
    /// The confirmation that a push asks for.
    pub enum Confirmation: "confirm" {
        /// The event is in the outbox.
        Queued = "queued",
        /// The socket has taken it.
        Written = "written",
        /// The client has read it.
        Acknowledged = "acknowledged",
    }
}

labels! {
    /// The outcome of a push for one recipient.
    pub enum ReceiptOutcome: "outcome" {
        /// The event is in the outbox.
        Queued = "queued",
        /// The socket has taken it.
        Written = "written",
        /// The client has read it.
        Acknowledged = "acknowledged",
        /// The user has no such session.
        Offline = "offline",
        /// The session does not keep up, and is closed.
        Overflowed = "overflowed",
        /// The session has ended.
        Closed = "closed",
        /// The deadline came first.
        Expired = "expired",
    }
}

labels! {
    /// The gateways that a question goes to.
    pub enum Asked: "to" {
        /// The gateways that hold the user.
        Holders = "holders",
        /// All.
        All = "all",
    }
}

/// A close code: one of [`close::KNOWN`], or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(usize);

impl CloseCode {
    /// Behind the known ones.
    const OTHER: usize = close::KNOWN.len();
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        let known = close::KNOWN.iter().position(|known| known.code == code);
        Self(known.unwrap_or(Self::OTHER))
    }
}

impl Label for CloseCode {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(Self::OTHER); Self::OTHER + 1];
        let mut place = 0;
        while place < Self::OTHER {
            all[place] = Self(place);
            place += 1;
        }
        all
    };

    fn label(self) -> &'static str {
        close::KNOWN.get(self.0).map_or("other", |known| known.label)
    }

    fn place(self) -> usize {
        self.0
    }
}

/// gRPC's statuses, by number.
pub(super) const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a response code.
pub(super) fn code_label(code: i32) -> &'static str {
    Code::try_from(code).map_or("other", |code| code.as_str_name())
}

/// The name of a gRPC status.
pub fn status_label(status: i32) -> &'static str {
    usize::try_from(status)
        .ok()
        .and_then(|status| STATUSES.get(status))
        .copied()
        .unwrap_or("UNKNOWN")
}

/// A gRPC status for a log line: its name, as metrics have it, and its message.
pub fn status_text(status: &tonic::Status) -> String {
    let (name, message) = (status_label(status.code() as i32), status.message());
    if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_combination_has_a_place_of_its_own() {
        fn check<L: Labels>() -> usize {
            assert!(L::all().enumerate().all(|(place, labels)| labels.place() == place));
            let values: HashSet<_> = L::all().map(|it| it.values().as_ref().to_vec()).collect();
            assert!(values.iter().all(|values| values.len() == L::NAMES.len()));
            assert_eq!(values.len(), L::all().count());
            values.len()
        }
        assert_eq!(check::<ConnectionRefusal>(), 8);
        assert_eq!(check::<(ReviewCause, LoginOutcome)>(), 9);
        assert_eq!(check::<CloseCode>(), close::KNOWN.len() + 1);
        assert_eq!(Label::label(CloseCode::from(3004)), "3004");
        assert_eq!(Label::label(CloseCode::from(4711)), "other");
    }
}
