//! The servers that the gateway connects to: upstreams, NATS and the collector of spans.

use super::{Checks, entries};
use crate::config::located::Value;
use crate::config::words;

impl Checks<'_> {
    /// TLS settings do nothing for a plaintext address.
    pub(super) fn plaintext_tls(&mut self) {
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
    pub(super) fn collector_tls(&mut self) {
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
    pub(super) fn two_authorizations(&mut self) {
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
    pub(super) fn nats_logins(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{complaint, complaints, with_basics};

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
}
