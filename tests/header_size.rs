//! The longest call headers that a client can cause, with a service over tonic,
//! and so over the `h2` crate, that takes at most 8 KiB: each call gets through,
//! and so do those of others on the same connection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

use bridgehead::client::{Options, Session};
use prost::Message as _;
use serde_json::json;

#[path = "support/gateway.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gateway;
#[path = "soak/services.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod services;

use gateway::Gateway;
use services::Text;

const LIMIT: u32 = 8 * 1024;
const METHOD: &str = "/v1/soak/say";

async fn log_in(gateway: &Gateway, user: &str, device: &str, token: &str) -> Session {
    let mut options = Options::new(&gateway.url);
    let traced = format!("00-{}-{}-01", "1".repeat(32), "2".repeat(16));
    let state: Vec<_> = (0..40).map(|nth| format!("key{nth}={}", "v".repeat(90))).collect();
    for (name, value) in [
        ("traceparent", traced),
        ("tracestate", state.join(",")),
        ("x-forwarded-for", "2001:db8:1111:2222:3333:4444:5555:6666".to_owned()),
    ] {
        options.headers.push((name.parse().unwrap(), value.parse().unwrap()));
    }
    device.clone_into(&mut options.device.as_mut().unwrap().device_id);
    let session = Session::connect(options).await.unwrap();
    session.login(user, token).await.unwrap();
    session
}

async fn say(session: &Session) {
    let text = Text { text: "hello".into() };
    let answer = session.call(METHOD, text.encode_to_vec().into()).await;
    assert_eq!(Text::decode(answer.unwrap()).unwrap().text, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_session_gets_through_where_8_kib_are_taken_and_harms_nobody() {
    let services = services::start_taking(LIMIT).await;
    let gateway = Gateway::start(&json!({
        "edge": { "listen": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"] },
        "auth": { "none": {} },
        "upstreams": {
            "soak": {
                "address": services.address,
                "descriptors": [services.descriptors],
                "connections": 1,
                "routes": { METHOD: "soak.Echo/Say" },
            },
        },
        "push": { "listen": "127.0.0.1:0" },
        "tracing": { "continue_client_traces": true },
        "drain": { "delay": "0s", "period": "0s" },
        "log": { "format": "json" },
    }));
    let other = log_in(&gateway, "other", "d", "t").await;
    let token = "t".repeat(4096);
    for (user, device) in [("u".repeat(512), "d".repeat(256)), ("é".repeat(85), "%".repeat(85))] {
        let session = log_in(&gateway, &user, &device, &token).await;
        for _ in 0..50 {
            say(&session).await;
            say(&other).await;
        }
    }
}
