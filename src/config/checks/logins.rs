//! How logins are verified, and the RPCs that are called for that and by hooks.

use super::{Checks, entries};
use crate::auth::jwt::KeysUrl;
use crate::config::located::Value;
use crate::config::{Judge, JwtKeys, suggestions, words};

impl Checks<'_> {
    /// Believing every token is for one's own machine.
    pub(super) fn open_door(&mut self) {
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

    /// Tokens are checked with the keys of one place.
    pub(super) fn token_keys(&mut self) {
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

    /// A gateway that accepts every token gains nothing from verifying it again.
    pub(super) fn nothing_to_judge(&mut self) {
        let auth = &self.config.auth;
        if matches!(auth.judge, Judge::None(_)) && !auth.recheck.is_zero() {
            self.diagnostics.warning(
                self.document.key_at(&["auth", "recheck"]),
                "`recheck` has no effect: `none` accepts every token, however often it is verified",
                "leave it out, or verify logins with `jwt` or `rpc`",
            );
        }
    }

    /// The upstreams that logins and hooks call.
    pub(super) fn callers(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{complaint, complaints, read, with_basics};

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
}
