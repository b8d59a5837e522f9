//! The table of routes: looked up by every request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::pattern::PublicMethods;
use super::route::Route;

/// Which client method leads where. Immutable: a reload makes another.
#[derive(Debug)]
pub struct RouteTable<U> {
    routes: HashMap<Arc<str>, Arc<Route<U>>>,
    /// Routes, and services (ending in a slash), whose descriptors are not
    /// known yet.
    pending: BTreeMap<String, Pending>,
    public: PublicMethods,
}

/// A route whose descriptors are not known yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Why not.
    pub(super) reason: String,
    /// Whether the method may be called before login; `None`: patterns decide.
    pub(super) public: Option<bool>,
}

/// The result of looking up a method.
#[derive(Debug)]
pub enum Lookup<'t, U> {
    /// A route.
    Route(&'t Arc<Route<U>>),
    /// A route, or a service that may have it, whose descriptors are not known
    /// yet; and why.
    Pending(&'t str),
    /// Nothing.
    Unknown,
}

impl<U> RouteTable<U> {
    pub(super) fn new(
        routes: HashMap<Arc<str>, Arc<Route<U>>>,
        pending: BTreeMap<String, Pending>,
        public: PublicMethods,
    ) -> Self {
        Self { routes, pending, public }
    }

    /// Looks a client's method up.
    pub fn lookup(&self, method: &str) -> Lookup<'_, U> {
        if let Some(route) = self.routes.get(method) {
            return Lookup::Route(route);
        }
        if self.pending.is_empty() {
            return Lookup::Unknown;
        }
        let service = method.rfind('/').and_then(|slash| method.get(..=slash));
        let pending = self.pending.get(method).or_else(|| self.pending.get(service?));
        pending.map_or(Lookup::Unknown, |pending| Lookup::Pending(&pending.reason))
    }

    /// Whether a method that is no route (yet) may be asked for before login.
    /// Routes know it themselves.
    pub fn is_public(&self, method: &str) -> bool {
        let pending = self.pending.get(method).and_then(|pending| pending.public);
        pending.unwrap_or_else(|| self.public.matches(method))
    }

    /// All routes, by name.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route<U>>> {
        let mut routes: Vec<_> = self.routes.values().collect();
        routes.sort_by(|a, b| a.name.cmp(&b.name));
        routes.into_iter()
    }

    /// Routes and services whose descriptors are not known yet, and why.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pending.iter().map(|(name, pending)| (name.as_str(), pending.reason.as_str()))
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::TableBuilder;

    #[test]
    fn what_is_pending_is_told_from_what_is_unknown() {
        let public = PublicMethods::new(["**/white/**"]).unwrap();
        let mut builder = TableBuilder::<()>::new("commonReq", "commonResp", public);
        builder.pending_route("/v1/a", Some(true), "down");
        builder.pending_service("pb.userService", "down too");
        let table = builder.build();
        assert!(matches!(table.lookup("/v1/a"), Lookup::Pending("down")));
        assert!(matches!(table.lookup("/pb.userService/Login"), Lookup::Pending("down too")));
        for method in ["/v1/b", "", "/", "/pb.userService", "/pb.userServices/Login"] {
            assert!(matches!(table.lookup(method), Lookup::Unknown), "{method}");
        }
        assert!(table.is_public("/x/white/y") && table.is_public("/v1/a"));
        assert!(!table.is_public("/v1/b"));
    }
}
