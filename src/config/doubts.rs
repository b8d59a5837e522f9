//! Warnings about valid values that are probably not intended, as they mean less,
//! or more, than they seem to.

use ipnet::IpNet;

use super::diagnostics::Diagnostics;
use super::located::{Document, Value};
use super::{SessionConfig, forms, words};

/// Warns of values that are probably not intended.
pub(super) fn check(document: &Document, diagnostics: &mut Diagnostics) {
    networks(document, diagnostics);
    platforms(document, diagnostics);
}

/// The texts of a list, with their places.
fn texts<'d>(
    document: &'d Document,
    path: &[&str],
) -> impl Iterator<Item = (super::Span, &'d super::located::Scalar)> {
    let items = match document.find(path).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match &item.value {
        Value::Scalar(scalar) => Some((item.span, scalar)),
        _ => None,
    })
}

/// `10.1.2.3/8` is the whole of `10.0.0.0/8`.
fn networks(document: &Document, diagnostics: &mut Diagnostics) {
    for (span, scalar) in texts(document, &["edge", "trusted_proxies"]) {
        let Some(network) = forms::parse_network(&scalar.text) else { continue };
        let whole = network.trunc();
        if network.prefix_len() == 0 {
            let message = format!("{} trusts everybody as a proxy", words::quoted(scalar));
            let help = "any client can choose its own address then: name the networks of the proxies alone";
            diagnostics.warning(span, message, help);
            continue;
        }
        if whole == network {
            continue;
        }
        let message = format!("{} is an address within a network", words::quoted(scalar));
        // Values from the environment are not shown.
        let help = if scalar.written.is_some() {
            "it stands for the whole network; write that, or the address alone".to_owned()
        } else {
            format!(
                "write `{whole}` for the whole network, which this stands for, or `{}` for the address alone",
                IpNet::addr(&network)
            )
        };
        diagnostics.warning(span, message, help);
    }
}

/// Clients name their platform in lowercase, and names are case-sensitive.
fn platforms(document: &Document, diagnostics: &mut Diagnostics) {
    let usual = SessionConfig::default().platforms;
    for (span, scalar) in texts(document, &["session", "platforms"]) {
        let meant = usual.iter().find(|name| name.eq_ignore_ascii_case(&scalar.text));
        if let Some(meant) = meant.filter(|name| **name != scalar.text) {
            let message = format!(
                "{} is not `{meant}`: platforms are compared as they are",
                words::quoted(scalar)
            );
            let help = format!("write `{meant}`, as clients send it");
            diagnostics.warning(span, message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{complaint, config, with_basics};

    #[test]
    fn an_address_with_a_prefix_is_doubted() {
        let said = complaint(&with_basics("edge: {}\n").replace(
            "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\nedge: {}\n",
            "edge: { listen: 127.0.0.1:0, trusted_proxies: [10.1.2.3/8, 10.0.0.0/8, '::1'] }\nauth: { none: {} }\n",
        ));
        assert!(said.contains("1:48: warning: `10.1.2.3/8` is an address within"), "{said}");
        assert!(said.contains("`10.0.0.0/8` for the whole network"), "{said}");
        assert!(said.ends_with("`10.1.2.3` for the address alone"), "{said}");
    }

    #[test]
    fn to_trust_everybody_is_doubted() {
        for network in ["0.0.0.0/0", "'::/0'", "10.0.0.0/0"] {
            let said = complaint(&with_basics("edge: {}\n").replace(
                "edge: { listen: 127.0.0.1:0 }\nauth: { none: {} }\nedge: {}\n",
                &format!("edge: {{ listen: 127.0.0.1:0, trusted_proxies: [{network}] }}\nauth: {{ none: {{}} }}\n"),
            ));
            assert!(said.contains("trusts everybody as a proxy"), "{said}");
        }
    }

    #[test]
    fn a_platform_in_capitals_is_doubted() {
        let said = complaint(&with_basics("session: { platforms: [iOS, android, tv] }\n"));
        assert!(said.contains("warning: `iOS` is not `ios`"), "{said}");
        config("session: { platforms: [ios, TV] }\n");
    }
}
