//! The listeners: access to the Push API, and no port used twice.

use std::net::SocketAddr;

use super::Checks;
use crate::config::located::Value;
use crate::config::words;

/// Whether two listeners want the same port of the same address. Port 0 is any
/// that is free.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |it: SocketAddr| it.ip().is_unspecified();
    let same = one.ip().to_canonical() == other.ip().to_canonical();
    let one_is_in_all = (is_any(one) || is_any(other)) && one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && one.port() != 0 && (same || one_is_in_all)
}

impl Checks<'_> {
    /// Any peer that reaches the Push API can write to every client.
    pub(super) fn push_door(&mut self) {
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
    pub(super) fn listeners(&mut self) {
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
    pub(super) fn listener(&self, section: &str, default: SocketAddr) -> String {
        match self.document.find(&[section, "listen"]).map(|node| &node.value) {
            Some(Value::Scalar(scalar)) => {
                format!("`{section}.listen`, {},", words::quoted(scalar))
            }
            _ => format!("`{section}.listen`, by default `{default}`,"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{read, with_basics};

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
}
