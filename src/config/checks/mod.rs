//! Rules beyond a schema: things that must exist, or go together.
//!
//! Each module has the rules of one subject. A value that already has an error gets
//! no further diagnostics.

mod clients;
mod files;
mod listeners;
mod logins;
mod methods;
mod peers;

use std::sync::Arc;

use crate::config::Config;
use crate::config::diagnostics::Diagnostics;
use crate::config::located::{Document, Entry, Node, Value};

pub(super) use files::{check_files, open_file};

/// Client methods that the gateway answers itself.
pub const OWN_METHODS: [&str; 3] =
    ["/v1/conn/white/setCxnParams", "/v1/conn/white/setUserParams", "/v1/conn/keepAlive"];

/// Checks a model against the document that it came from.
pub(super) fn check(config: &Config, document: &Document, diagnostics: &mut Diagnostics) {
    let mut checks = Checks { config, document, diagnostics };
    checks.client_paths();
    checks.open_door();
    checks.proxies();
    checks.nothing_to_judge();
    checks.token_keys();
    checks.encryption();
    checks.platform_classes();
    checks.push_door();
    checks.listeners();
    checks.callers();
    checks.own_methods();
    checks.methods_once();
    checks.plaintext_tls();
    checks.nats_logins();
    checks.collector_tls();
    checks.two_authorizations();
}

struct Checks<'c> {
    config: &'c Config,
    document: &'c Document,
    diagnostics: &'c mut Diagnostics,
}

impl Checks<'_> {
    /// Whether the model's value at `path` may be a default only because the
    /// document's value there was bad, or its key was misspelt.
    fn is_unsure(&self, path: &[&str]) -> bool {
        let Some((_, parents)) = path.split_last() else { return false };
        if let Some(node) = self.document.find(path) {
            return self.has_error(node);
        }
        match self.document.find(parents).map(|node| &node.value) {
            Some(Value::Mapping(entries)) => {
                entries.iter().any(|entry| self.diagnostics.has_error_within(entry.key_span))
            }
            Some(Value::Bad | Value::List(_) | Value::Scalar(_)) => true,
            None => false,
        }
    }

    fn has_error(&self, node: &Node) -> bool {
        match &node.value {
            Value::Bad => true,
            Value::Scalar(_) => self.diagnostics.has_error_within(node.span),
            Value::List(items) => items.iter().any(|item| self.has_error(item)),
            Value::Mapping(entries) if entries.is_empty() => {
                self.diagnostics.has_error_within(node.span)
            }
            Value::Mapping(entries) => entries.iter().any(|entry| {
                self.diagnostics.has_error_within(entry.key_span) || self.has_error(&entry.value)
            }),
        }
    }
}

/// The entries of a mapping; none where there is no mapping.
fn entries(node: Option<&Arc<Node>>) -> &[Entry] {
    match node.map(|node| &node.value) {
        Some(Value::Mapping(entries)) => entries,
        _ => &[],
    }
}
