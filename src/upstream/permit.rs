//! Room for one call on a connection.

use std::sync::Arc;

use super::connection::Connection;
use super::occupancy::Kind;

/// Room for one call on a connection, given back when dropped.
pub(super) struct Permit {
    connection: Arc<Connection>,
    kind: Kind,
}

impl Permit {
    /// Takes room for a call.
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.entered();
        Self { connection: Arc::clone(connection), kind: Kind::Unary }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The call is a stream. `false`: there are too many streams.
    pub(super) fn opens_stream(&mut self) -> bool {
        if !self.connection.occupancy().opens_stream(self.connection.peers_limit()) {
            return false;
        }
        self.kind = Kind::Opening;
        true
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind != Kind::Unary
    }

    /// The call's response has begun.
    pub(super) fn answered(&mut self) {
        if self.kind == Kind::Opening {
            self.change_to(Kind::Listening);
        }
    }

    /// The caller does not want the rest of it.
    pub(super) fn abandoned(&mut self) {
        if self.is_stream() {
            self.change_to(Kind::Abandoned);
        }
    }

    fn change_to(&mut self, kind: Kind) {
        self.connection.occupancy().changed(self.kind, kind);
        self.kind = kind;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connection.left(self.kind);
    }
}
