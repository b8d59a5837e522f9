//! What a schema can't say: things that must exist, or go together.
//!
//! Where a value was already found to be bad, nothing more is said about it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::diagnostics::Diagnostics;
use super::edge::MAX_PATHS;
use super::located::{Document, Entry, Node, Value};
use super::source::Span;
use super::structure::FileUse;
use super::{Config, Judge, JwtKeys, forms, suggestions, words};
use crate::auth::jwt::KeysUrl;

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
            // It may be the secret itself.
            _ if file.key == "secret" => "`secret`: there is no such file to read".to_owned(),
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
            "secret" => {
                "it is the name of a file that holds the secret: `bridgehead token --new-key hs256` makes one"
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

/// Whether two listeners want the same port of the same address. Port 0 is any
/// that is free.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |it: SocketAddr| it.ip().is_unspecified();
    let same = one.ip().to_canonical() == other.ip().to_canonical();
    let one_is_in_all = (is_any(one) || is_any(other)) && one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && one.port() != 0 && (same || one_is_in_all)
}

struct Checks<'c> {
    config: &'c Config,
    document: &'c Document,
    diagnostics: &'c mut Diagnostics,
}

impl Checks<'_> {
    /// Each path of clients is there once, and in one place.
    fn client_paths(&mut self) {
        let Some(node) = self.document.find(&["edge", "paths"]).filter(|node| !node.is_absent())
        else {
            return;
        };
        let Value::Mapping(paths) = &node.value else { return };
        let span = self.document.key_at(&["edge", "paths"]);
        if self.document.find(&["edge", "path"]).is_some_and(|node| !node.is_absent()) {
            let first = self.document.key_at(&["edge", "path"]);
            self.diagnostics
                .error(
                    span,
                    "`edge` has both `path` and `paths`",
                    "keep one: `path: /ws` is `paths: { /ws: {} }`",
                )
                .note(first, "`path` is here");
        }
        if paths.is_empty() {
            self.diagnostics.error(span, "`paths` is empty", "name a path, such as `{ /ws: {} }`");
        }
        if paths.len() > MAX_PATHS {
            let message = format!("`paths` has {} paths", paths.len());
            self.diagnostics.error(span, message, format!("{MAX_PATHS} are the most"));
        }
        let mut seen: HashMap<String, Span> = HashMap::new();
        for path in paths {
            if let Some(first) = seen.insert(forms::normal_path(&path.key), path.key_span) {
                let message =
                    format!("`{}` is another spelling of a path", words::shorten(&path.written));
                self.diagnostics
                    .error(path.key_span, message, "keep one of them")
                    .note(first, "the first one is here");
            }
        }
    }

    /// Believing every token is for one's own machine.
    fn open_door(&mut self) {
        let Judge::None(none) = &self.config.auth.judge else { return };
        let listen = self.config.edge.listen;
        if none.insecure || listen.ip().is_loopback() || self.is_unsure(&["edge", "listen"]) {
            return;
        }
        let span = self.document.key_at(&["auth", "none"]);
        let message = format!(
            "`none` accepts every token, and {} can be reached from other machines",
            self.listener("edge", listen)
        );
        let help = "listen on `127.0.0.1:8080`, check tokens with `jwt` or `rpc`, or say `none: { insecure: true }`";
        let place = self.document.find(&["edge", "listen"]).map(|node| node.span);
        let error = self.diagnostics.error(span, message, help);
        if let Some(place) = place {
            error.note(place, "it listens here");
        }
    }

    /// What proxies say is believed of those that are trusted, so without any it is
    /// never read.
    fn proxies(&mut self) {
        let edge = &self.config.edge;
        if !edge.trusted_proxies.is_empty() || self.is_unsure(&["edge", "trusted_proxies"]) {
            return;
        }
        let help = "list the networks of your load balancers in `edge.trusted_proxies`, such as `[10.0.0.0/8]`, or leave it out";
        if edge.proxy_protocol {
            self.diagnostics.error(
                self.document.key_at(&["edge", "proxy_protocol"]),
                "`proxy_protocol` without `trusted_proxies` refuses every load balancer's connections",
                help,
            );
        }
        let path = ["edge", "client_address"];
        let is_said = self.document.find(&path).is_some_and(|node| !node.is_absent());
        if is_said && !edge.client_address.eq_ignore_ascii_case("none") && !self.is_unsure(&path) {
            self.diagnostics.warning(
                self.document.key_at(&path),
                "`client_address` has no effect: there are no `trusted_proxies` whose header is read",
                help,
            );
        }
    }

    /// Tokens are checked with the keys of one place.
    fn token_keys(&mut self) {
        let Judge::Jwt(jwt) = &self.config.auth.judge else { return };
        let path = |key| ["auth", "jwt", key];
        let is_unsure = ["keys", "secret", "issuer"].iter().any(|key| self.is_unsure(&path(key)));
        if jwt.keys.is_some() && jwt.secret.is_some() {
            let second = self.document.key_at(&path("secret"));
            let first = self.document.key_at(&path("keys"));
            self.diagnostics
                .error(
                    second,
                    "`keys` and `secret` are two ways to check tokens",
                    "keep one of them; where tokens of both kinds come, a JWKS file may have the secret as an `oct` key",
                )
                .note(first, "`keys` is here");
        }
        if jwt.keys.is_none() && jwt.secret.is_none() && !is_unsure {
            let issuer = jwt.issuer.as_deref();
            let help = "name public keys under `keys` or a file with a secret under `secret`; or write an issuer with OpenID Connect discovery as `https://…`";
            match issuer.map(|issuer| (issuer, KeysUrl::parse(issuer))) {
                Some((_, Ok(_))) => {}
                Some((issuer, Err(problem))) => {
                    let message = format!(
                        "there is neither `keys` nor `secret`, and the issuer `{}`, which could say where its keys are, {problem}",
                        words::shorten(issuer)
                    );
                    self.diagnostics.error(self.document.at(&path("issuer")), message, help);
                }
                None => {
                    let message = "`jwt` has neither `keys` nor `secret` nor `issuer`";
                    self.diagnostics.error(self.document.key_at(&["auth", "jwt"]), message, help);
                }
            }
        }
        let is_fetched = matches!(&jwt.keys, Some(JwtKeys::Url(_)))
            || jwt.keys.is_none() && jwt.secret.is_none();
        if jwt.ca.is_some() && !is_fetched && !is_unsure {
            self.diagnostics.error(
                self.document.key_at(&path("ca")),
                "`ca` is for keys that are fetched from a URL, and these are in a file",
                "leave it out",
            );
        }
    }

    /// Whoever believes every token finds nothing when it is judged again.
    fn nothing_to_judge(&mut self) {
        let auth = &self.config.auth;
        if matches!(auth.judge, Judge::None(_)) && !auth.recheck.is_zero() {
            self.diagnostics.warning(
                self.document.key_at(&["auth", "recheck"]),
                "`recheck` has no effect: `none` accepts every token, however often it is verified",
                "leave it out, or verify logins with `jwt` or `rpc`",
            );
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

    /// A platform is in one class, and one that clients may name.
    fn platform_classes(&mut self) {
        let path = ["session", "one_session_per"];
        let node = self.document.find(&path);
        let classes = entries(node);
        if let Some(Value::Mapping(none)) = node.map(|node| &node.value)
            && none.is_empty()
        {
            let span = self.document.key_at(&path);
            let message = "`one_session_per` has no class of platforms";
            self.diagnostics.error(span, message, "add one, such as `mobile: [ios, android]`");
        }
        let allowed = &self.config.session.platforms;
        let platforms_are_unsure = self.is_unsure(&["session", "platforms"]);
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for class in classes {
            let Value::List(platforms) = &class.value.value else { continue };
            for platform in platforms {
                let Value::Scalar(scalar) = &platform.value else { continue };
                if self.diagnostics.has_error_within(platform.span) {
                    continue;
                }
                if let Some(first) = seen.insert(&scalar.text, platform.span) {
                    let message = format!("{} is in a class already", words::quoted(scalar));
                    self.diagnostics
                        .error(
                            platform.span,
                            message,
                            "a platform is in one class: keep one of them",
                        )
                        .note(first, "the first one is here");
                }
                if !platforms_are_unsure && !allowed.contains(&scalar.text) {
                    let names = allowed.iter().map(String::as_str);
                    let help = match suggestions::closest(&scalar.text, names.clone()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!(
                            "`session.platforms` has {}: add it there, or leave it out here",
                            words::list(names, "and")
                        ),
                    };
                    let message = format!(
                        "{} is not a platform that a client may name",
                        words::quoted(scalar)
                    );
                    self.diagnostics.error(platform.span, message, help);
                }
            }
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
            format!("{listener} can be reached from other machines, and anyone may push"),
            "add `tokens`, or `tls` with a `client_ca`, or listen on `127.0.0.1:9090`",
        );
    }

    /// A port takes one listener: the second of them could not be opened.
    fn listeners(&mut self) {
        let all = [
            ("edge", Some(self.config.edge.listen)),
            ("push", self.config.push.as_ref().map(|push| push.listen)),
            ("admin", self.config.admin.as_ref().map(|admin| admin.listen)),
        ];
        let mut before: Vec<(&str, SocketAddr)> = Vec::new();
        for (section, listen) in all {
            let Some(listen) = listen.filter(|_| !self.is_unsure(&[section, "listen"])) else {
                continue;
            };
            if let Some(&(other, first)) = before.iter().find(|(_, it)| overlap(*it, listen)) {
                let listener = self.listener(section, listen);
                let message =
                    format!("{listener} is where `{other}.listen`, `{first}`, listens too");
                let note = self.document.at(&[other, "listen"]);
                self.diagnostics
                    .error(
                        self.document.at(&[section, "listen"]),
                        message,
                        "give each a port of its own",
                    )
                    .note(note, "the first one is here");
            }
            before.push((section, listen));
        }
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
        for path in [
            ["auth", "rpc", "upstream"],
            ["auth", "each_request", "upstream"],
            ["hooks", "connected", "upstream"],
            ["hooks", "disconnected", "upstream"],
        ] {
            self.caller(&path);
        }
    }

    fn caller(&mut self, path: &[&str]) {
        let Some(node) = self.document.find(path).filter(|node| !node.is_absent()) else { return };
        let Value::Scalar(scalar) = &node.value else { return };
        let upstreams = self.document.find(&["upstreams"]);
        if upstreams.is_some_and(|node| matches!(node.value, Value::Bad | Value::List(_))) {
            return;
        }
        let names: Vec<&str> = entries(upstreams).iter().map(|entry| entry.key.as_str()).collect();
        if names.contains(&scalar.text.as_str()) {
            return;
        }
        let help =
            match (suggestions::closest(&scalar.text, names.iter().copied()), names.as_slice()) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, []) => "add it under `upstreams`".to_owned(),
                (None, [only]) => format!("the only one is `{only}`"),
                (None, names) if names.len() > 12 => "use a name from `upstreams`".to_owned(),
                (None, names) => format!("there are {}", words::list(names.iter().copied(), "and")),
            };
        let message = format!("there is no upstream {}", words::quoted(scalar));
        self.diagnostics.error(node.span, message, help);
    }

    /// The gateway's own methods can't lead anywhere else.
    fn own_methods(&mut self) {
        for upstream in entries(self.document.find(&["upstreams"])) {
            for route in entries(upstream.value.entry("routes").map(|routes| &routes.value)) {
                if OWN_METHODS.contains(&route.key.as_str()) {
                    let message = format!(
                        "`{}` is answered by the gateway itself",
                        words::shorten(&route.written)
                    );
                    self.diagnostics.error(route.key_span, message, "leave this route out");
                }
            }
        }
    }

    /// A client method leads to one upstream, and a service is exposed by one.
    fn methods_once(&mut self) {
        let mut methods: HashMap<&str, Span> = HashMap::new();
        let mut services: HashMap<&str, Span> = HashMap::new();
        for upstream in entries(self.document.find(&["upstreams"])) {
            for route in entries(upstream.value.entry("routes").map(|routes| &routes.value)) {
                if let Some(first) = methods.insert(&route.key, route.key_span) {
                    self.twice(&route.written, "has two routes", route.key_span, first);
                }
            }
            let expose = upstream.value.entry("expose").map(|expose| &expose.value.value);
            let Some(Value::List(items)) = expose else { continue };
            for item in items {
                let Value::Scalar(scalar) = &item.value else { continue };
                if let Some(first) = services.insert(&scalar.text, item.span) {
                    self.twice(scalar.shown(), "is exposed twice", item.span, first);
                }
            }
        }
    }

    fn twice(&mut self, written: &str, predicate: &str, span: Span, first: Span) {
        let message = format!("`{}` {predicate}", words::shorten(written));
        self.diagnostics
            .error(span, message, "keep one of them")
            .note(first, "the first one is here");
    }

    /// TLS settings do nothing for a plaintext address.
    fn plaintext_tls(&mut self) {
        for upstream in entries(self.document.find(&["upstreams"])) {
            let Some(tls) = upstream.value.entry("tls").filter(|tls| !tls.value.is_absent()) else {
                continue;
            };
            let Some(address) = upstream.value.entry("address") else { continue };
            let addresses = match &address.value.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(&address.value),
            };
            for address in addresses {
                let Value::Scalar(scalar) = &address.value else { continue };
                if scalar.text.starts_with("http://") {
                    let message = format!(
                        "{} is plaintext, but the upstream has `tls`",
                        words::quoted(scalar)
                    );
                    let error = self.diagnostics.error(
                        address.span,
                        message,
                        "write `https://`, or leave `tls` out",
                    );
                    error.note(tls.key_span, "`tls` is here");
                }
            }
        }
    }

    /// TLS settings do nothing for a plaintext collector.
    fn collector_tls(&mut self) {
        let Some(tracing) = &self.config.tracing else { return };
        let Some(otlp) = tracing.otlp.as_deref().filter(|otlp| otlp.starts_with("http://")) else {
            return;
        };
        if tracing.tls.is_some() {
            self.diagnostics
                .error(
                    self.document.at(&["tracing", "otlp"]),
                    format!("`{}` is plaintext, but `tracing` has `tls`", words::shorten(otlp)),
                    "write `https://`, or leave `tls` out",
                )
                .note(self.document.key_at(&["tracing", "tls"]), "`tls` is here");
        }
    }

    /// A call has one `authorization`.
    fn two_authorizations(&mut self) {
        for upstream in entries(self.document.find(&["upstreams"])) {
            let path = ["upstreams", &upstream.key, "metadata"];
            let passes = self.document.find(&[&path[..], &["authorization"]].concat());
            let passes = passes.is_some_and(
                |node| matches!(&node.value, Value::Scalar(scalar) if scalar.text == "pass"),
            );
            let set = [&path[..], &["set", "authorization"]].concat();
            if passes && self.document.find(&set).is_some() {
                let at = self.document.key_at(&set);
                let place = self.document.key_at(&[&path[..], &["authorization"]].concat());
                self.diagnostics
                    .error(
                        at,
                        "`authorization` is both passed on and set",
                        "leave one of them out: the value that is set replaces the client's token",
                    )
                    .note(place, "it is passed on here");
            }
        }
    }

    /// A gateway logs in to NATS in one way.
    fn nats_logins(&mut self) {
        let ways = ["credentials", "user", "token"].into_iter().filter_map(|key| {
            let node = self.document.find(&["cluster", key])?;
            (!node.is_absent()).then_some(key)
        });
        let ways: Vec<_> = ways.collect();
        if let [first, second, ..] = ways[..] {
            self.diagnostics.error(
                self.document.key_at(&["cluster", second]),
                format!("`{first}` and `{second}` are two ways to log in to NATS"),
                "keep the one that the server asks for",
            );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::testing::{complaint, complaints, environment, read, with_basics};

    /// What is wrong with a text, without places and help.
    fn messages(text: &str) -> Vec<String> {
        read(text).1.iter().map(|one| one.message().to_owned()).collect()
    }

    #[test]
    fn clients_have_each_path_once_and_in_one_place() {
        let of = |edge: &str| {
            messages(&format!("auth: {{ none: {{ insecure: true }} }}\nedge: {edge}\n"))
        };
        for good in ["{ path: /x }", "{ paths: { /ws: {}, /ws/: {}, /WS: {} } }", "{ paths: }"] {
            assert_eq!(of(good), Vec::<String>::new(), "{good}");
        }
        let both = of("{ path: /x, paths: { /ws: {} } }");
        assert_eq!(both, ["`edge` has both `path` and `paths`"]);
        assert_eq!(of("{ paths: {} }"), ["`paths` is empty"]);
        for other in ["/%77s", "/./ws", "/a/../ws", "/%2E/ws"] {
            let spelt = of(&format!("{{ paths: {{ /ws: {{}}, {other}: {{}} }} }}"));
            assert_eq!(spelt, [format!("`{other}` is another spelling of a path")]);
        }
        let cased = of("{ paths: { /%e4: {}, /%E4: {} } }");
        assert_eq!(cased, ["`/%E4` is another spelling of a path"]);
        let many: Vec<_> = (0..17).map(|n| format!("/{n}: {{}}")).collect();
        assert_eq!(
            of(&format!("{{ paths: {{ {} }} }}", many.join(", "))),
            ["`paths` has 17 paths"]
        );
        let relative = of("{ paths: { ws: {} } }");
        assert_eq!(relative.len(), 1, "{relative:?}");
        assert!(relative[0].contains("does not begin with `/`"), "{relative:?}");
    }

    #[test]
    fn a_platform_is_in_one_class_and_one_that_clients_may_name() {
        let of = |classes: &str| {
            messages(&with_basics(&format!("session: {{ one_session_per: {classes} }}\n")))
        };
        assert_eq!(of("{ mobile: [ios, android, ipad], web: [web] }"), Vec::<String>::new());
        assert_eq!(of("{ a: [ios], b: [web, ios] }"), ["`ios` is in a class already"]);
        assert_eq!(of("{ a: [ios, tv] }"), ["`tv` is not a platform that a client may name"]);
        assert_eq!(of("{}"), ["`one_session_per` has no class of platforms"]);
        assert_eq!(of("{ a: [] }"), ["`a`: the list is empty"]);
        assert_eq!(of("{ a: [ios, ios] }"), ["`a`: `ios` is here twice"]);
        let word = of("devise");
        assert_eq!(word, ["`one_session_per`: `devise` is not known here"]);
    }

    #[test]
    fn every_token_is_believed_on_the_loopback_only() {
        let (_, diagnostics) = read("edge: { listen: 127.8.8.8:1 }\nauth: { none: {} }\n");
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let (_, diagnostics) = read("edge: { listen: \"[::1]:1\" }\nauth: { none: {} }\n");
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let (_, diagnostics) = read("auth: { none: { insecure: true } }\n");
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let complaint = complaint("edge: { listen: 10.0.0.1:1 }\nauth: { none: {} }\n");
        assert!(complaint.starts_with("t.yaml:2:9: `none` accepts every token"), "{complaint}");
    }

    #[test]
    fn what_proxies_say_needs_proxies_that_are_trusted() {
        let edge = |keys: &str| {
            read(&format!("edge: {{ listen: 127.0.0.1:1, {keys} }}\nauth: {{ none: {{}} }}\n")).1
        };
        let lines = |keys: &str| edge(keys).lines().collect::<Vec<_>>().join("\n");
        for good in [
            "trusted_proxies: [10.0.0.1], proxy_protocol: true, client_address: forwarded",
            "proxy_protocol: false",
            "client_address: none",
            "trusted_proxies: [10.0.0.1], client_address: CF-Connecting-IP",
        ] {
            assert!(edge(good).is_empty(), "{good}: {}", edge(good));
        }
        assert_eq!(edge("proxy_protocol: true").errors(), 1);
        assert!(lines("proxy_protocol: true").starts_with("t.yaml:1:30: `proxy_protocol` without"));
        assert_eq!(edge("client_address: x-real-ip").errors(), 0);
        assert!(lines("client_address: x-real-ip").contains("has no effect"));
        // Where the list itself is wrong, that is enough.
        assert_eq!(edge("proxy_protocol: true, trusted_proxies: [x]").errors(), 1);
        assert!(lines("client_address: Host").contains("is a header of clients"));
    }

    #[test]
    fn a_secret_in_the_place_of_its_file_is_not_repeated() {
        let text = with_basics("").replace("none: {}", "jwt: { secret: hunter2hunter2 }");
        let loaded = parse("t.yaml", &text, Path::new("/nowhere"), &environment);
        let lines: Vec<_> = loaded.unwrap_err().lines().collect();
        assert!(lines[0].contains("it is the name of a file"), "{lines:?}");
        assert!(!lines[0].contains("hunter2"), "{lines:?}");
    }

    #[test]
    fn tokens_are_checked_with_the_keys_of_one_place() {
        let jwt = |jwt: &str| complaints(&format!("auth: {{ jwt: {{ {jwt} }} }}\n"));
        for good in [
            "keys: jwks.json",
            "keys: https://id.example.com/jwks.json",
            "keys: http://127.0.0.1:8080/jwks.json, ca: ca.pem",
            "secret: secret.txt, issuer: im",
            "issuer: https://id.example.com/realms/im/, ca: ca.pem",
        ] {
            assert_eq!(jwt(good), Vec::<String>::new(), "{good}");
        }
        for (bad, says) in [
            ("", "has neither `keys` nor `secret` nor `issuer`"),
            ("audience: im", "has neither `keys` nor `secret` nor `issuer`"),
            ("issuer: im", "the issuer `im`, which could say where its keys are, is not a URL"),
            ("issuer: http://id.example.com", "is not https, so anyone on the network path"),
            ("keys: a, secret: b", "are two ways to check tokens"),
            ("keys: a, ca: b", "`ca` is for keys that are fetched"),
            ("secret: a, ca: b", "`ca` is for keys that are fetched"),
            (
                "keys: http://id.example.com/jwks.json",
                "is not https, so anyone on the network path",
            ),
            ("keys: file:///a", "write the path alone"),
        ] {
            let complaints = jwt(bad);
            assert!(
                matches!(&complaints[..], [one] if one.contains(says)),
                "{bad}: {complaints:?}"
            );
        }
    }

    #[test]
    fn the_default_address_is_not_the_loopback() {
        assert!(complaint("auth: { none: {} }\n").contains("by default `0.0.0.0:8080`"));
    }

    #[test]
    fn a_bad_address_is_not_taken_for_the_default_one() {
        assert_eq!(complaints("edge: { listen: x }\nauth: { none: {} }\n").len(), 1);
        assert_eq!(complaints("edge: { listn: 127.0.0.1:1 }\nauth: { none: {} }\n").len(), 1);
        assert_eq!(complaints("edge: x\nauth: { none: {} }\n").len(), 1);
    }

    #[test]
    fn tls_to_a_collector_needs_https() {
        let tracing = |scheme: &str| {
            with_basics(&format!("tracing: {{ otlp: '{scheme}://c:1', tls: {{ domain: c }} }}\n"))
        };
        assert!(complaints(&tracing("https")).is_empty());
        let complaint = complaint(&tracing("http"));
        assert!(complaint.contains("`http://c:1` is plaintext"), "{complaint}");
    }

    #[test]
    fn encryption_that_is_required_needs_a_key() {
        let complaint = complaint(&with_basics("session: { require_encryption: true }\n"));
        assert!(complaint.contains("turns every client away"), "{complaint}");
    }

    #[test]
    fn the_push_api_off_the_loopback_asks_who_calls() {
        let errors = |push: &str| read(&with_basics(&format!("push: {push}\n"))).1.errors();
        assert_eq!(errors("{ listen: 0.0.0.0:1 }"), 1);
        assert_eq!(errors("{ listen: 0.0.0.0:1, tls: { cert: c, key: k } }"), 1);
        assert_eq!(errors("{ listen: 0.0.0.0:1, tls: { cert: c, key: k, client_ca: a } }"), 0);
        assert_eq!(errors("{ listen: 0.0.0.0:1, tokens: [a] }"), 0);
        assert_eq!(errors("{ listen: 127.0.0.1:1 }"), 0);
        assert_eq!(errors("{}"), 0);
    }

    #[test]
    fn an_empty_token_is_no_token() {
        for tokens in ["[\"\"]", "[\"${EMPTY}\"]", "[null]"] {
            let text = with_basics(&format!("push: {{ tokens: {tokens} }}\n"));
            assert_eq!(read(&text).1.errors(), 1, "{tokens}");
        }
    }

    #[test]
    fn upstreams_that_are_called_must_exist() {
        let basics =
            "edge: { listen: 127.0.0.1:0 }\nauth: { rpc: { rpc: a.B/C, upstream: msgs } }\n";
        let upstreams =
            "upstreams: { msg: { address: http://m:1 }, user: { address: http://u:1 } }\n";
        assert!(complaint(&format!("{basics}{upstreams}")).ends_with("did you mean `msg`?"));
        assert!(complaint(basics).ends_with("add it under `upstreams`"));
        let hooks = "hooks: { connected: { upstream: nobody, rpc: a.B/C } }\n";
        let complaints = complaints(&with_basics(&format!("{upstreams}{hooks}")));
        assert!(
            complaints.iter().any(|it| it.ends_with("there are `msg` and `user`")),
            "{complaints:?}"
        );
    }

    #[test]
    fn an_upstream_with_mistakes_exists_all_the_same() {
        let text = "edge: { listen: 127.0.0.1:0 }\nauth: { rpc: { rpc: a.B/C, upstream: msg } }\nupstreams: { msg: { address: 5 } }\n";
        assert!(complaint(text).contains("`address`"));
    }

    #[test]
    fn the_gateways_own_methods_cannot_be_routes() {
        for method in OWN_METHODS {
            let text = format!(
                "upstreams: {{ a: {{ address: http://a:1, routes: {{ {method}: p.A/B }} }} }}\n"
            );
            assert!(complaint(&with_basics(&text)).contains("is answered by the gateway itself"));
        }
    }

    #[test]
    fn a_method_with_two_upstreams_is_shown_at_both() {
        let text = "upstreams:\n  a: { address: http://a:1, routes: { /x: p.A/B } }\n  b: { address: http://b:1, routes: { /x: nonsense } }\n";
        let complaints = complaints(&with_basics(text));
        assert!(
            complaints[0]
                .starts_with("t.yaml:5:39: `/x` has two routes; the first one is here (4:39)"),
            "{complaints:?}"
        );
        assert_eq!(complaints.len(), 2);
    }

    #[test]
    fn tls_for_a_plaintext_address_is_refused() {
        let upstream = |address: &str| {
            with_basics(&format!("upstreams: {{ a: {{ tls: {{}}, address: {address} }} }}\n"))
        };
        assert!(
            complaint(&upstream("[https://a:1, http://a:1]"))
                .starts_with("t.yaml:3:51: `http://a:1` is plaintext")
        );
        assert!(complaints(&upstream("\"dns:///a:1\"")).is_empty());
    }

    #[test]
    fn one_way_to_log_in_to_nats_is_enough() {
        let cluster =
            |keys: &str| with_basics(&format!("cluster: {{ nats: 'nats://n:1', {keys} }}\n"));
        assert!(complaints(&cluster("user: u, password: p")).is_empty());
        assert!(complaints(&cluster("token: t, name: a.b, tls: {}")).is_empty());
        let complaint = complaint(&cluster("token: t, user: u, password: p"));
        assert!(complaint.contains("`user` and `token` are two ways"), "{complaint}");
        let complaint = self::complaint(&cluster("user: u"));
        assert!(complaint.contains("`password`"), "{complaint}");
    }

    #[test]
    fn files_must_be_there_and_be_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.pem"), "").unwrap();
        let errors = |text: &str| {
            let text = with_basics(text);
            match parse("t.yaml", &text, folder.path(), &environment) {
                Ok(loaded) => panic!("{:?}", loaded.config),
                Err(diagnostics) => diagnostics.lines().collect::<Vec<_>>().join("\n"),
            }
        };
        let missing = errors("session: { private_key: gone.pem }\n");
        assert!(
            missing.contains("there is no file `gone.pem`")
                && missing.contains("bridgehead keygen"),
            "{missing}"
        );
        let directory = errors("session: { private_key: . }\n");
        assert!(directory.contains("is a folder"), "{directory}");
        let text = with_basics("session: { private_key: there.pem }\n");
        let loaded = parse("t.yaml", &text, folder.path(), &environment).unwrap();
        assert_eq!(loaded.config.session.private_key, Some(folder.path().join("there.pem")));
        assert_eq!(loaded.files().collect::<Vec<_>>(), [folder.path().join("there.pem")]);
    }
}
