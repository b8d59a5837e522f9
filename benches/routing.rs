//! The cost of routing a request: finding its route among few and among many, and
//! the identity splice, beside the obvious way of doing the same (decoding the
//! message, setting the field, encoding it again).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on should stop")]
#![allow(clippy::wildcard_imports, reason = "the groups are modules for their name's sake")]

use std::sync::Arc;
use std::time::Duration;

use bridgehead::proto::demo::{
    CommonReq, FILE_DESCRIPTOR_SET, MsgData, SendMsgListReq, msg_data::Options,
};
use bridgehead::routing::identity::Member;
use bridgehead::routing::{
    Descriptors, Lookup, PublicMethods, Route, RouteSpec, RouteTable, StatusCodes, TableBuilder,
};
use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

#[global_allocator]
static ALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc; // as the gateway has it

/// Bytes of a request, about.
const SIZES: [usize; 2] = [256, 4096];

/// Routes of a table.
const ROUTES: [usize; 2] = [10, 10_000];

const REQ_ID: &str = "01J9ZQ4T8Y6F3N5K7W2XRC0DVB";

fn main() {
    divan::main();
}

/// A table of so many routes, and their names.
fn table(routes: usize, validate: bool) -> (RouteTable<()>, Vec<String>) {
    let descriptors = Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap();
    let public = PublicMethods::new(["**/white/**"]).unwrap();
    let mut builder = TableBuilder::new("commonReq", "commonResp", public);
    let names: Vec<_> =
        (0..routes).map(|n| format!("/v1/service{}/sendMsgList{n}", n % 100)).collect();
    for name in &names {
        let spec = RouteSpec {
            name: name.clone(),
            rpc: "pb.msgService/SendMsgListAsync".into(),
            timeout: Duration::from_secs(5),
            public: None,
            retry: false,
            validate,
            expose_errors: false,
            codes: StatusCodes::default(),
        };
        builder.route((), spec, &descriptors).unwrap();
    }
    (builder.build(), names)
}

fn route(validate: bool) -> Arc<Route<()>> {
    let (table, names) = table(1, validate);
    let Lookup::Route(route) = table.lookup(&names[0]) else { panic!("it is a route") };
    Arc::clone(route)
}

/// A request of about `size` bytes: chat messages of some 250 bytes each, and
/// the identity as clients of today send it.
fn request(size: usize) -> Bytes {
    let identity = CommonReq {
        user_id: "u1".into(),
        platform: "ios".into(),
        ip: "10.0.0.1".into(),
        ..Default::default()
    };
    let mut request = SendMsgListReq { common_req: Some(identity), ..Default::default() };
    while request.encoded_len() + 100 < size {
        request.msg_data_list.push(message());
    }
    request.encode_to_vec().into()
}

fn message() -> MsgData {
    MsgData {
        client_msg_id: "6f1c9a52-6a0d-4f0e-9a87-0a4c8e4f1b11".into(),
        client_time: "1753862400000".into(),
        sender_id: "100200300".into(),
        sender_info: br#"{"nickname":"alice","avatar":"a/1.png"}"#.to_vec(),
        conv_id: "single:100200300-100200301".into(),
        content_type: 1,
        content: b"See you at the bridge at nine, bring the maps please.".to_vec(),
        options: Some(Options {
            storage_for_server: true,
            storage_for_client: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The session's value of a member.
fn member(member: Member) -> &'static str {
    match member {
        Member::UserId => "100200300",
        Member::Token => "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMDAyMDAzMDAifQ.c2lnbmF0dXJl",
        Member::DeviceModel => "iPhone 15",
        Member::DeviceId => "6f1c9a52-6a0d-4f0e-9a87-0a4c8e4f1b11",
        Member::OsVersion => "17.5",
        Member::Platform => "ios",
        Member::AppVersion => "2.14.0",
        Member::Language => "en",
        Member::Ip => "203.0.113.7",
        Member::UserAgent => "app/2.14.0",
        _ => "",
    }
}

/// A request made ready for its service.
#[divan::bench_group]
mod identity {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn splice(bencher: Bencher, size: usize) {
        prepare(bencher, size, false);
    }

    /// As a route with `validate: true` does it.
    #[divan::bench(args = SIZES)]
    fn validate_and_splice(bencher: Bencher, size: usize) {
        prepare(bencher, size, true);
    }

    #[divan::bench(args = SIZES)]
    fn decode_set_and_encode(bencher: Bencher, size: usize) {
        let input = route(false).input.clone();
        let field = input.get_field_by_name("commonReq").unwrap();
        let of_session = route(false).layouts()[0].encode(member);
        let identity = field.kind().as_message().unwrap().clone();
        let identity = Value::Message(DynamicMessage::decode(identity, &*of_session).unwrap());
        let request = request(size);
        bencher.counter(BytesCount::new(request.len())).bench(|| {
            let data = black_box(&request).clone();
            let mut message = DynamicMessage::decode(input.clone(), data).unwrap();
            message.set_field(&field, identity.clone());
            Bytes::from(message.encode_to_vec())
        });
    }

    fn prepare(bencher: Bencher, size: usize, validate: bool) {
        let route = route(validate);
        let of_session = route.layouts()[0].encode(member);
        let request = request(size);
        bencher
            .counter(BytesCount::new(request.len()))
            .bench(|| route.prepare(black_box(&request), |_| black_box(&of_session), REQ_ID));
    }
}

/// A method looked up, another one each time.
#[divan::bench_group]
mod lookup {
    use super::*;

    #[divan::bench(args = ROUTES)]
    fn route(bencher: Bencher, routes: usize) {
        let (table, names) = table(routes, false);
        look_up(bencher, &table, &names);
    }

    #[divan::bench(args = ROUTES)]
    fn unknown(bencher: Bencher, routes: usize) {
        let (table, names) = table(routes, false);
        let others: Vec<_> = names.iter().map(|name| format!("{name}?")).collect();
        look_up(bencher, &table, &others);
    }

    fn look_up(bencher: Bencher, table: &RouteTable<()>, names: &[String]) {
        let mut next = names.iter().cycle();
        bencher.bench_local(|| {
            let name = next.next().unwrap();
            matches!(table.lookup(black_box(name)), Lookup::Route(_))
        });
    }
}
