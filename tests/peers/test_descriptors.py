"""Descriptors as servers and compilers really tell them: files missing, of two minds, of editions."""

import functools
import json
import subprocess

import grpc
import pytest
from configuration import gateway_config
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from reflecting_server import V1, V1ALPHA, ReflectingServer, compile_set
from session_client import Code

SHOP = """
syntax = "proto3";
package shop;
import "google/api/annotations.proto";
import "validate/validate.proto";
import "google/protobuf/timestamp.proto";
import "shop/money.proto";
service Shop {
  rpc Buy(Order) returns (Order) { option (google.api.http) = { get: "/v1/buy" }; }
}
message Order {
  string id = 1 [(validate.rules).min_len = 3];
  google.protobuf.Timestamp at = 2;
  Money price = 3;
  CommonReq commonReq = 4;
}
message CommonReq { string userId = 1; }
"""
FILES = {
    "shop/shop.proto": SHOP,
    "shop/money.proto": 'syntax = "proto3"; package shop; message Money { int64 cents = 1; }',
    "google/api/annotations.proto": """
syntax = "proto3";
package google.api;
import "google/protobuf/descriptor.proto";
message HttpRule { string get = 2; }
extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
""",
    "validate/validate.proto": """
syntax = "proto2";
package validate;
import "google/protobuf/descriptor.proto";
message Rules { optional uint64 min_len = 1; }
extend google.protobuf.FieldOptions { optional Rules rules = 1071; }
""",
}
OPTIONS_ONLY = ["google/api/annotations.proto", "validate/validate.proto", "google/protobuf/descriptor.proto"]
WELL_KNOWN = ["google/protobuf/timestamp.proto", "google/protobuf/descriptor.proto"]
CODES = [
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
]


@pytest.fixture(scope="module")
def shop_set(tmp_path_factory):
    return compile_set(tmp_path_factory.mktemp("shop"), FILES, ["shop/shop.proto"])


@pytest.fixture
def shop(shop_set):
    servers = []

    def start(**settings):
        servers.append(ReflectingServer(shop_set, ["shop.Shop"], **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def shop_config(services, server, **upstream):
    upstream = {"address": server.address, "routes": {"/v1/buy": "shop.Shop/Buy"}, **upstream}
    return gateway_config(services, upstreams={"shop": upstream})


@pytest.fixture
def check(binary, tmp_path):
    def check(config):
        (tmp_path / "routes.yaml").write_text(json.dumps(config))
        return subprocess.run(
            [binary, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )

    return check


@functools.cache
def pool_of(serialized_set):
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(serialized_set).file:
        pool.Add(file)
    return pool


def message_of(serialized_set, name):
    return message_factory.GetMessageClass(pool_of(serialized_set).FindMessageTypeByName(name))


def buy(client, shop_set):
    order = message_of(shop_set, "shop.Order")
    answer = client.call("/v1/buy", order(id="x").SerializeToString())
    assert answer.code == Code.Success
    return order.FromString(answer.data).commonReq.userId


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_files_that_no_message_needs_may_be_missing_and_well_known_ones_too(
    start_gateway, connect, services, shop, shop_set, code
):
    server = shop(lacks=OPTIONS_ONLY + WELL_KNOWN, code=code)
    client = connect(start_gateway(shop_config(services, server))).log_in("alice")
    assert buy(client, shop_set) == "alice"


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_a_file_that_a_message_needs_is_named_with_its_importer_and_the_way_out(check, services, shop, code):
    server = shop(lacks=["shop/money.proto"], code=code)
    checked = check(shop_config(services, server))
    assert checked.returncode in (1, 64)
    for said in ["`shop/shop.proto`", "`shop/money.proto`", "`shop.Money`", "no such file", "`descriptors`"]:
        assert said in checked.stderr, checked.stderr


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_version_1_that_is_refused_leads_to_version_1alpha(check, services, shop, code):
    server = shop(versions=[V1, V1ALPHA], refuses=[V1], code=code)
    checked = check(shop_config(services, server))
    assert checked.returncode == 0, checked.stderr


def test_a_set_without_what_is_imported_for_options_can_be_used(
    start_gateway, connect, services, shop, shop_set, tmp_path
):
    files = descriptor_pb2.FileDescriptorSet.FromString(shop_set)
    kept = [file for file in files.file if file.name not in OPTIONS_ONLY + WELL_KNOWN]
    (tmp_path / "shop.binpb").write_bytes(descriptor_pb2.FileDescriptorSet(file=kept).SerializeToString())
    config = shop_config(services, shop(versions=[]), descriptors=[str(tmp_path / "shop.binpb")])
    assert buy(connect(start_gateway(config)).log_in("alice"), shop_set) == "alice"


# Two sets with a file of the same name.

COMMON = 'syntax = "proto3"; package pb; message Common {{ string a = 1; {} }}'


def two_sets(folder, first, second, more=""):
    """Sets of the services `first` and `second`, with a `common.proto` each."""
    paths = []
    for nth, (package, field) in enumerate([(first, ""), (second, more)]):
        service = f"""
syntax = "proto3";
package {package};
import "common.proto";
service S {{ rpc Echo(Req) returns (Req); }}
message Req {{ pb.Common common = 1; CommonReq commonReq = 2; }}
message CommonReq {{ string userId = 1; }}
"""
        out = folder / f"set{nth}.binpb"
        files = {f"{package}.proto": service, "common.proto": COMMON.format(field)}
        out.write_bytes(compile_set(folder / str(nth), files, [f"{package}.proto"]))
        paths.append(out)
    return paths


def sets_config(services, server, sets, packages):
    upstream = {
        "address": server.address,
        "descriptors": [str(path) for path in sets],
        "routes": {f"/v1/{package}": {"rpc": f"{package}.S/Echo", "validate": True} for package in packages},
    }
    return gateway_config(services, upstreams={"both": upstream})


@pytest.mark.parametrize("more", ["", "bytes b = 2;"], ids=["equal", "different"])
def test_two_sets_with_a_file_of_the_same_name_are_both_used(
    start_gateway, connect, services, shop, tmp_path, more
):
    sets = two_sets(tmp_path, "one", "two", more)
    gateway = start_gateway(sets_config(services, shop(versions=[]), sets, ["one", "two"]))
    client = connect(gateway).log_in("alice")
    for package, path in zip(["one", "two"], sets, strict=True):
        request = message_of(path.read_bytes(), f"{package}.Req")
        message = request()
        message.common.a = "mine"
        answer = client.call(f"/v1/{package}", message.SerializeToString())
        assert answer.code == Code.Success
        echoed = request.FromString(answer.data)
        assert (echoed.common.a, echoed.commonReq.userId) == ("mine", "alice")
    # Each service's requests are held against its own file: there `b` is a field or is none.
    as_varint = b"\x0a\x02\x10\x01"
    assert client.call("/v1/one", as_varint).code == Code.Success
    taken = client.call("/v1/two", as_varint).code
    assert taken == (Code.RequestError if more else Code.Success)


def test_two_sets_that_cannot_both_be_meant_are_named_with_what_differs(check, services, shop, tmp_path):
    sets = two_sets(tmp_path, "same", "same", "bytes b = 2;")
    checked = check(sets_config(services, shop(versions=[]), sets, ["same"]))
    assert checked.returncode == 64
    for said in [str(sets[0]), str(sets[1]), "`same.S`", "`pb.Common.b`"]:
        assert said in checked.stderr, checked.stderr


# Editions.

DELIMITED = """
edition = "2023";
package ed;
option features.message_encoding = DELIMITED;
service S { rpc Echo(Req) returns (Req); rpc EchoBatch(Batch) returns (Batch); }
message CommonReq { string userId = 1; int64 reqId = 2; }
message Req {
  string text = 1;
  CommonReq commonReq = 2;
  map<string, CommonReq> labels = 3;
}
message Batch {
  repeated Req items = 1;
  map<string, Req> named = 2;
  Req prefixed = 4 [features.message_encoding = LENGTH_PREFIXED];
  Batch more = 3;
}
"""


@pytest.fixture(scope="module")
def delimited_set(tmp_path_factory):
    return compile_set(tmp_path_factory.mktemp("ed"), {"ed.proto": DELIMITED}, ["ed.proto"])


def test_the_identity_is_filled_where_messages_are_delimited(
    start_gateway, connect, services, delimited_set, tmp_path
):
    server = ReflectingServer(delimited_set, ["ed.S"])
    upstream = {
        "address": server.address,
        "routes": {"/v1/echo": "ed.S/Echo", "/v1/batch": "ed.S/EchoBatch"},
    }
    config = gateway_config(services, upstreams={"ed": upstream}, identity={"depth": "nested"})
    client = connect(start_gateway(config)).log_in("alice")

    request = message_of(delimited_set, "ed.Req")
    forged = request(text="mine")
    forged.commonReq.userId = "root"
    forged.labels["a"].userId = "the client's own"
    answer = client.call("/v1/echo", forged.SerializeToString())
    assert answer.code == Code.Success
    got = request.FromString(answer.data)
    assert (got.text, got.commonReq.userId, got.labels["a"].userId) == ("mine", "alice", "the client's own")
    # A group, as the service's own code would write it.
    assert b"\x13\x0a\x05alice" in answer.data

    batch = message_of(delimited_set, "ed.Batch")
    forged_batch = batch()
    forged_batch.items.append(forged)
    forged_batch.named["a"].CopyFrom(forged)
    forged_batch.prefixed.CopyFrom(forged)
    forged_batch.more.items.append(forged)
    forged_batch.more.more.items.add()
    answer = client.call("/v1/batch", forged_batch.SerializeToString())
    assert answer.code == Code.Success
    got = batch.FromString(answer.data)
    items = [*got.items, got.named["a"], got.prefixed, *got.more.items, *got.more.more.items]
    assert [item.commonReq.userId for item in items] == ["alice"] * 5
    server.stop()
