//! The client methods that routes have.

use std::collections::HashMap;

use super::{Checks, OWN_METHODS, entries};
use crate::config::located::Value;
use crate::config::source::Span;
use crate::config::words;

impl Checks<'_> {
    /// The gateway's own methods can't lead anywhere else.
    pub(super) fn own_methods(&mut self) {
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
    pub(super) fn methods_once(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use crate::config::OWN_METHODS;
    use crate::config::testing::{complaint, complaints, with_basics};

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
}
