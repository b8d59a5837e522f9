//! The forms that texts in `routes.yaml` may have: addresses, names, globs, ….
//!
//! A form is one constant: the pattern that the JSON Schema gives to editors,
//! the words for errors, and the check that decides. The pattern may accept
//! texts that the check refuses, never the other way round. Durations and
//! sizes are forms too; they live in [`super::units`].

mod form;
mod names;
mod network;

pub(super) use form::{Complaint, Form, KEYWORD, form};
pub(super) use names::{
    AddressHeader, ClientMethod, FieldName, FilePath, FixedMetadataName, Glob, MetadataName,
    MethodName, NodeName, NonEmpty, Platform, SecretText, ServiceName, UpstreamName,
};
pub(super) use network::{
    Address, DomainName, HttpPath, KeysPlace, ListenAddress, NatsUrl, Network, Origin, OtlpUrl,
    SubjectPrefix, normal_path, parse_network,
};

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::units::{Delay, Interval, Size};

/// Every form that a schema can name.
static FORMS: [&Form; 27] = [
    &Address::FORM,
    &AddressHeader::FORM,
    &ClientMethod::FORM,
    &Delay::FORM,
    &DomainName::FORM,
    &FieldName::FORM,
    &FilePath::FORM,
    &FixedMetadataName::FORM,
    &Glob::FORM,
    &HttpPath::FORM,
    &Interval::FORM,
    &KeysPlace::FORM,
    &ListenAddress::FORM,
    &MetadataName::FORM,
    &MethodName::FORM,
    &NatsUrl::FORM,
    &NodeName::FORM,
    &SubjectPrefix::FORM,
    &Network::FORM,
    &NonEmpty::FORM,
    &Origin::FORM,
    &OtlpUrl::FORM,
    &Platform::FORM,
    &SecretText::FORM,
    &ServiceName::FORM,
    &Size::FORM,
    &UpstreamName::FORM,
];

/// The form called `name`.
pub(super) fn find(name: &str) -> Option<&'static Form> {
    FORMS.iter().copied().find(|form| form.name == name)
}

/// The schema of a form, or of any other type, by itself.
pub(super) fn schema_of<T: JsonSchema>() -> Schema {
    T::json_schema(&mut SchemaGenerator::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::schema;

    /// 254 characters.
    const LONG_NAME: &str = {
        const BYTES: [u8; 254] = [b'a'; 254];
        match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => panic!(),
        }
    };

    /// For each form texts that have it, and texts that do not.
    const SAMPLES: [(&str, &[&str], &[&str]); 27] = [
        (
            "address",
            &[
                "http://msg:8080",
                "https://msg.example.com",
                "http://[::1]:80/",
                "dns:///msg:443",
                "unix:///run/a.sock",
                "http://my_service:1",
            ],
            &[
                "",
                "msg",
                "msg:8080",
                "http://",
                "http://a:b",
                "http://a:0",
                "http://a:65536",
                "http://a/b",
                "http://u@a",
                "http://a?b",
                "dns://msg:1",
                "dns:///msg",
                "dns:///",
                "unix://a",
                "unix:///",
                "unix:/a",
                "ftp://a",
                "http://a b",
                "http://[::1:80",
            ],
        ),
        (
            "address-header",
            &["x-forwarded-for", "forwarded", "none", "CF-Connecting-IP", "x_real_ip", "X1"],
            &[
                "",
                "x forwarded for",
                "x-real-ip:",
                "x-real-ip,x-other",
                "$http_x_real_ip",
                "é",
                "Host",
                "user-agent",
                "cookie",
                "Sec-WebSocket-Key",
            ],
        ),
        (
            "client-method",
            &["/v1/msg/sendMsgList", "/x", "/pb.A/B", "/a:b-c_d~e"],
            &["", "/", "v1/x", "/a b", " /a", "/v1/user/{id}", "/v1/*", "/v1/a?", "/[a]"],
        ),
        ("delay", &["0s", "5s", "1h 30m"], &["", "5", "5 s", "s"]),
        ("domain-name", &["msg.internal", "a_b-c"], &["", "a b", "http://a", "a:1"]),
        ("field-name", &["commonReq", "common_req", "_x1"], &["", "1x", "a-b", "a.b", "é"]),
        ("file", &["a.pem", "/etc/a b.pem", "../é"], &["", "a\0b"]),
        (
            "glob",
            &["**/white/**", "/v1/*", "/a/{b,c}", "[/]a", "*"],
            &["", "v1/x", "/a[", "/a{b", "/[z-a]"],
        ),
        ("http-path", &["/", "/ws", "/a/b-c~d%20e"], &["", "ws", "/a b", "/a?b", "/a#b", "/é"]),
        ("interval", &["1ms", "5s", "1h30m"], &["", "0s", "0h0m", "5", "1y", "-1s"]),
        (
            "keys-place",
            &["jwks.json", "/etc/keys.pem", "https://id.example.com/jwks", "http://127.0.0.1:1/k"],
            &[
                "",
                "a\0b",
                "http://id.example.com/jwks",
                "file:///etc/jwks.json",
                "https://",
                "https://u:p@id.example.com/",
            ],
        ),
        (
            "listen-address",
            &["127.0.0.1:8080", "0.0.0.0:0", "[::]:80", "[::1]:65535", "[fe80::1%2]:1"],
            &[
                "",
                "8080",
                ":8080",
                "localhost:8080",
                "127.0.0.1",
                "::1:80",
                "1.2.3.4:65536",
                "1.2.3:4",
                "*:80",
            ],
        ),
        (
            "metadata-name",
            &["authorization", "x-api-key", "a.b_c", "1"],
            &[
                "",
                "X-Api-Key",
                "a b",
                "key-bin",
                "grpc-timeout",
                "a:",
                ":path",
                "é",
                "te",
                "host",
                "content-type",
                "user-agent",
                "connection",
            ],
        ),
        (
            "fixed-metadata-name",
            &["authorization", "x-api-key", "a.b_c", "1"],
            &["", "X-Api-Key", "key-bin", "grpc-timeout", "te", "x-user-id", "traceparent"],
        ),
        (
            "method-name",
            &["pb.userService/Login", "A/b", "a.b.C/D_1"],
            &["", "/pb.A/B", "pb.A.B", "pb.A", "A/", "/", "A/B/C", "a..B/C", "1a/B"],
        ),
        (
            "nats-url",
            &["nats://nats:4222", "tls://a", "nats://u:p@n:1/"],
            &["", "nats", "http://n:1", "nats://", "nats://a b", "nats://a:x", "nats:///u:p@n:1/"],
        ),
        ("subject-prefix", &["bridgehead", "a.b-c_1"], &["", ".", "a.", "a..b", "a b", "a.*", ">"]),
        (
            "network",
            &["10.0.0.0/8", "10.1.2.3/8", "10.0.0.1", "::1", "fd00::/8"],
            &["", "10.0.0.0/33", "10.0.0", "a", "10.0.0.0/", "::/129"],
        ),
        (
            "node-name",
            &["gateway-1", "bridgehead-6d5f7c9b8-x2v4q", "eu.gw_1", "1"],
            &["", "-a", ".a", "a b", "a/b", "a:1", "é", "a\n", LONG_NAME],
        ),
        (
            "origin",
            &[
                "https://app.example.com",
                "https://app.example.com:80",
                "http://[::1]:3000",
                "http://localhost:3000",
                "capacitor://localhost",
                "chrome-extension://abc",
                "null",
            ],
            &[
                "",
                "*",
                "app.example.com",
                "https://",
                "https://a/",
                "https://*.a",
                "https://a b",
                "https://a.example:443",
                "http://a.example:80",
                "https://a.example:443/x",
                "HTTPS://a.example",
                "https://A.Example",
                "https://bücher.example",
                "https://a.example:08443",
                "https://me@a.example",
                "wss://a.example:443",
                "https://a:b",
            ],
        ),
        (
            "otlp-url",
            &["http://collector:4317", "https://api.example.com", "http://[::1]:4317/"],
            &["", "collector:4317", "http://", "http://a/v1/traces", "grpc://a:1", "http://a b"],
        ),
        ("platform", &["ios", "apple-tv"], &["", "a b", " "]),
        ("secret-text", &["a", " a b\n"], &["", "\n", " \t"]),
        (
            "service-name",
            &["pb.userService", "A"],
            &["", "pb.userService/Login", "/A", "a b", "a.", ".a"],
        ),
        ("size", &["1", "512B", "1 MiB", "3GB"], &["", "1mb", "MiB", "-1", "1.5MiB"]),
        ("text", &["a", " ", "\n"], &[""]),
        ("upstream-name", &["msg", "msg-2", "a.b_c", "1"], &["", "-a", ".a", "a b", "é"]),
    ];

    /// The forms that a schema names.
    fn named<'s>(schema: &'s Value, names: &mut BTreeSet<&'s str>) {
        names.extend(schema.get(KEYWORD).and_then(Value::as_str));
        match schema {
            Value::Object(map) => map.values().for_each(|below| named(below, names)),
            Value::Array(list) => list.iter().for_each(|below| named(below, names)),
            _ => {}
        }
    }

    fn matches_pattern(form: &Form, text: &str) -> bool {
        jsonschema::draft202012::new(form.schema().as_value()).unwrap().is_valid(&json!(text))
    }

    #[test]
    fn each_form_takes_what_has_it_and_refuses_what_has_not() {
        for (name, good, bad) in SAMPLES {
            let form = find(name).unwrap();
            for text in good {
                assert!((form.check)(text).is_ok(), "{name}: {text:?}");
            }
            for text in bad {
                assert!((form.check)(text).is_err(), "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn every_form_is_tried_and_every_form_of_the_schema_is_known() {
        let tried: BTreeSet<&str> = SAMPLES.iter().map(|(name, ..)| *name).collect();
        let all: BTreeSet<&str> = FORMS.iter().map(|form| form.name).collect();
        assert_eq!(tried, all);
        let mut names = BTreeSet::new();
        named(schema::model(), &mut names);
        assert_eq!(names, all);
    }

    #[test]
    fn a_help_that_shows_what_to_write_shows_something_right() {
        for (name, _, bad) in SAMPLES {
            let form = find(name).unwrap();
            for text in bad {
                let help = (form.check)(text).unwrap_err().help.unwrap_or_default();
                let Some(rest) = help.strip_prefix("write `") else { continue };
                let (written, _) = rest.split_once('`').unwrap();
                if !written.ends_with(":port") {
                    assert!((form.check)(written).is_ok(), "{name}: {text:?}: {help}");
                }
            }
        }
    }

    proptest! {
        /// Editors must not complain of texts that the gateway accepts.
        #[test]
        fn a_pattern_lets_through_what_its_check_takes(
            (name, text) in select(SAMPLES.to_vec()).prop_flat_map(|(name, good, _)| (Just(name), select(good))),
            at in 0..8_usize,
            cut in 0..3_usize,
            insert in r"[a-zA-Z0-9:/._ \[\]%@*?{},\n-]{0,3}",
        ) {
            let form = find(name).unwrap();
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.min(changed.len());
            let end = (at + cut).min(changed.len());
            changed.splice(at..end, insert.chars());
            let changed: String = changed.into_iter().collect();
            if (form.check)(&changed).is_ok() {
                prop_assert!(matches_pattern(form, &changed), "{}: {:?}", name, changed);
            }
        }
    }
}
