//! What a schema can't say: things that must exist, or go together.
//!
//! Where a value was already found to be bad, nothing more is said about it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::diagnostics::Diagnostics;
use super::located::{Document, Node, Value};
use super::source::Span;
use super::structure::FileUse;
use super::{Auth, Config, RpcCall, suggestions, words};

/// Client methods that the gateway answers itself.
const OWN_METHODS: [&str; 3] =
    ["/v1/conn/white/setCxnParams", "/v1/conn/white/setUserParams", "/v1/conn/keepAlive"];

/// Sections that this version reads but does not act on.
const NOT_YET: [&str; 4] = ["hooks", "push", "admin", "cluster"];

/// Checks a model against the document that it came from.
pub(super) fn check(config: &Config, document: &Document, diagnostics: &mut Diagnostics) {
    let mut checks = Checks { config, document, diagnostics };
    checks.open_door();
    checks.encryption();
    checks.push_door();
    checks.callers();
    checks.own_methods();
    checks.methods_once();
    checks.plaintext_tls();
    checks.not_yet();
}

/// Checks that the files that a document names can be read, with `open`.
pub(super) fn check_files(
    files: &[FileUse],
    open: &dyn Fn(&Path) -> io::Result<()>,
    diagnostics: &mut Diagnostics,
) {
    for file in files {
        let Err(error) = open(&file.path) else { continue };
        let written = words::shorten(&file.written);
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("`{}`: there is no file `{written}`", file.key),
            io::ErrorKind::IsADirectory => {
                format!("`{}`: `{written}` is a folder, not a file", file.key)
            }
            kind => format!("`{}`: the file `{written}` can't be read: {kind}", file.key),
        };
        let help = match file.key.as_str() {
            "private_key" => {
                "make one with `bridgehead keygen`, or leave the key out to refuse encryption"
            }
            "descriptors" => {
                "write one with `buf build -o` or `protoc --include_imports --descriptor_set_out`; a relative path starts at the folder of this file"
            }
            _ => "a relative path starts at the folder of this file",
        };
        diagnostics.error(file.span, message, help);
    }
}

/// Whether a file is there and may be read.
pub(super) fn open_file(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}

struct Checks<'c> {
    config: &'c Config,
    document: &'c Document,
    diagnostics: &'c mut Diagnostics,
}

impl Checks<'_> {
    /// Believing every token is for one's own machine.
    fn open_door(&mut self) {
        let Auth::None(none) = &self.config.auth else { return };
        let listen = self.config.edge.listen;
        if none.insecure || listen.ip().is_loopback() || self.is_unsure(&["edge", "listen"]) {
            return;
        }
        let span = self.document.key_at(&["auth", "none"]);
        let message = format!(
            "`none` believes every token, and {} can be reached from other machines",
            self.listener("edge", listen)
        );
        let help = "listen on `127.0.0.1:8080`, check tokens with `jwt` or `rpc`, or say `none: { insecure: true }`";
        let place = self.document.find(&["edge", "listen"]).map(|node| node.span);
        let error = self.diagnostics.error(span, message, help);
        if let Some(place) = place {
            error.note(place, "it listens here");
        }
    }

    /// Requiring encryption without a key turns every client away.
    fn encryption(&mut self) {
        let session = &self.config.session;
        let key = ["session", "private_key"];
        if session.require_encryption && session.private_key.is_none() && !self.is_unsure(&key) {
            let span = self.document.key_at(&["session", "require_encryption"]);
            self.diagnostics.error(
                span,
                "`require_encryption` without a `private_key` turns every client away",
                "make a key with `bridgehead keygen` and name it in `session.private_key`",
            );
        }
    }

    /// Whoever reaches the Push API can write to every client.
    fn push_door(&mut self) {
        let Some(push) = &self.config.push else { return };
        let asks = !push.tokens.is_empty()
            || push.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
            || self.is_unsure(&["push", "tokens"])
            || self.is_unsure(&["push", "tls"]);
        if push.listen.ip().is_loopback() || asks || self.is_unsure(&["push", "listen"]) {
            return;
        }
        let span = self.document.at(&["push", "listen"]);
        let listener = self.listener("push", push.listen);
        self.diagnostics.error(
            span,
            format!("{listener} can be reached from other machines, and everybody may push"),
            "add `tokens`, or `tls` with a `client_ca`, or listen on `127.0.0.1:9090`",
        );
    }

    /// A listener's address as the document has it.
    fn listener(&self, section: &str, default: SocketAddr) -> String {
        match self.document.find(&[section, "listen"]).map(|node| &node.value) {
            Some(Value::Scalar(scalar)) => {
                format!("`{section}.listen`, {},", words::quoted(scalar))
            }
            _ => format!("`{section}.listen`, by default `{default}`,"),
        }
    }

    /// The upstreams that logins and hooks call.
    fn callers(&mut self) {
        if let Auth::Rpc(call) = &self.config.auth {
            self.caller(call, &["auth", "rpc", "upstream"]);
        }
        if let Some(call) = &self.config.hooks.connected {
            self.caller(call, &["hooks", "connected", "upstream"]);
        }
        if let Some(call) = &self.config.hooks.disconnected {
            self.caller(call, &["hooks", "disconnected", "upstream"]);
        }
    }

    fn caller(&mut self, call: &RpcCall, path: &[&str]) {
        let upstreams = self.document.find(&["upstreams"]).map(|node| &node.value);
        let names: Vec<&str> = match upstreams {
            Some(Value::Mapping(entries)) => {
                entries.iter().map(|entry| entry.key.as_str()).collect()
            }
            Some(Value::Bad | Value::List(_)) => return,
            _ => Vec::new(),
        };
        let Some(Value::Scalar(scalar)) = self.document.find(path).map(|node| &node.value) else {
            return;
        };
        if names.contains(&call.upstream.as_str()) {
            return;
        }
        let help = match suggestions::closest(&call.upstream, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "add it under `upstreams`".to_owned(),
            None if names.len() > 12 => "use a name from `upstreams`".to_owned(),
            None => format!(
                "there {}",
                match names.as_slice() {
                    [only] => format!("is `{only}`"),
                    _ => format!("are {}", words::list(names.iter().copied(), "and")),
                }
            ),
        };
        let message = format!("there is no upstream {}", words::quoted(scalar));
        self.diagnostics.error(self.document.at(path), message, help);
    }

    /// The gateway's own methods can't lead anywhere else.
    fn own_methods(&mut self) {
        for (name, upstream) in &self.config.upstreams {
            for method in
                OWN_METHODS.into_iter().filter(|method| upstream.routes.contains_key(*method))
            {
                let span = self.document.key_at(&["upstreams", name, "routes", method]);
                let message = format!("`{method}` is answered by the gateway itself");
                self.diagnostics.error(span, message, "leave this route out");
            }
        }
    }

    /// A client method leads to one upstream, and a service is exposed by one.
    fn methods_once(&mut self) {
        let mut methods: HashMap<&str, &str> = HashMap::new();
        let mut services: HashMap<&str, (&str, usize)> = HashMap::new();
        for (name, upstream) in &self.config.upstreams {
            for method in upstream.routes.keys() {
                let Some(first) = methods.insert(method, name) else { continue };
                let first = self.document.key_at(&["upstreams", first, "routes", method]);
                let span = self.document.key_at(&["upstreams", name, "routes", method]);
                self.twice(span, first, "a route", method);
            }
            for (index, service) in upstream.expose.iter().enumerate() {
                let Some((first, first_index)) = services.insert(service, (name, index)) else {
                    continue;
                };
                let first =
                    self.document.at(&["upstreams", first, "expose", &first_index.to_string()]);
                let span = self.document.at(&["upstreams", name, "expose", &index.to_string()]);
                self.twice(span, first, "exposed", service);
            }
        }
    }

    fn twice(&mut self, span: Span, first: Span, what: &str, name: &str) {
        let message = format!("`{}` is {what} twice", words::shorten(self.written(span, name)));
        self.diagnostics
            .error(span, message, "keep one of them")
            .note(first, "the first one is here");
    }

    /// A name as the document has it, in case a variable is part of it.
    fn written<'w>(&'w self, span: Span, name: &'w str) -> &'w str {
        let text = self.document.source.slice(span);
        if text.contains("${") { text } else { name }
    }

    /// TLS settings do nothing for a plaintext address.
    fn plaintext_tls(&mut self) {
        for (name, upstream) in &self.config.upstreams {
            if upstream.tls.is_none() {
                continue;
            }
            for (index, address) in upstream.address.iter().enumerate() {
                if !address.starts_with("http://") {
                    continue;
                }
                let path = ["upstreams", name, "address", &index.to_string()];
                let span = self.document.at(&path);
                let tls = self.document.key_at(&["upstreams", name, "tls"]);
                let message = format!(
                    "`{}` is plaintext, but the upstream has `tls`",
                    words::shorten(self.written(span, address))
                );
                self.diagnostics
                    .error(span, message, "write `https://`, or leave `tls` out")
                    .note(tls, "`tls` is here");
            }
        }
    }

    /// Says of each section that is not acted on yet that it is not.
    fn not_yet(&mut self) {
        for section in NOT_YET {
            if self.document.find(&[section]).is_some_and(|node| !node.is_absent()) {
                self.diagnostics.warning(
                    self.document.key_at(&[section]),
                    format!("`{section}`: not available in this version; ignored"),
                    "",
                );
            }
        }
    }

    /// Whether the model's value at `path` may be a default only because what
    /// the document says there was bad, or was meant for it but misspelt.
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
            Value::Mapping(entries) => entries.iter().any(|entry| {
                self.diagnostics.has_error_within(entry.key_span) || self.has_error(&entry.value)
            }),
        }
    }
}
