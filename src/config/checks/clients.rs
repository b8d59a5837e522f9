//! Rules about clients: their paths, proxies, encryption and classes of platforms.

use std::collections::HashMap;

use super::{Checks, entries};
use crate::config::edge::MAX_PATHS;
use crate::config::located::Value;
use crate::config::source::Span;
use crate::config::{forms, suggestions, words};

impl Checks<'_> {
    /// Each path of clients is configured once, and in one place.
    pub(super) fn client_paths(&mut self) {
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

    /// Headers are read from trusted proxies only, so without any of these they are
    /// never read.
    pub(super) fn proxies(&mut self) {
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

    /// Requiring encryption without a key turns every client away.
    pub(super) fn encryption(&mut self) {
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
    pub(super) fn platform_classes(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{complaint, messages, read, with_basics};

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
        assert_eq!(of("{ paths: { /%0F: {}, /%+F: {} } }"), Vec::<String>::new());
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
    fn encryption_that_is_required_needs_a_key() {
        let complaint = complaint(&with_basics("session: { require_encryption: true }\n"));
        assert!(complaint.contains("turns every client away"), "{complaint}");
    }
}
