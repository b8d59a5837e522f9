"""Three gateways as one: whatever a backend asks of one of them holds for all."""

import secrets
import time
from collections import Counter

import grpc
import pytest
from cluster import cluster_config, start_cluster, wait_known
from processes import Nats, eventually
from push_client import (
    ACKNOWLEDGED,
    QUEUED,
    WRITTEN,
    Kind,
    Outcome,
    outcomes,
    status_of,
)
from session_client import KEEP_ALIVE, Code

LONG = 60


@pytest.fixture(scope="module")
def nodes(share_gateway, services, nats):
    def start(config, env):
        return share_gateway(config, env=env)

    return start_cluster(start, services, nats.url)


def is_there(client):
    return client.call(KEEP_ALIVE).code == Code.Success


def test_pushes_from_any_gateway_reach_users_on_any(nodes, connect, open_backend, user):
    clients = {}
    for number, node in enumerate(nodes):
        clients[number] = connect(node).log_in(f"{user}-{number}")
    for number, node in enumerate(nodes):
        backend = open_backend(node)
        for confirm, outcome in ((QUEUED, "QUEUED"), (WRITTEN, "WRITTEN"), (ACKNOWLEDGED, "ACKNOWLEDGED")):
            users = [f"{user}-{it}" for it in range(4)]
            receipts = backend.push(user_ids=users, data=b"x", confirm=confirm, deadline=LONG)
            told = {
                it.user_id or it.session.user_id: (Outcome.Name(it.outcome), it.session.node)
                for it in receipts
            }
            assert len(receipts) == 4
            assert told == {f"{user}-{it}": (outcome, f"node-{it}") for it in range(3)} | {
                f"{user}-3": ("OFFLINE", "")
            }
            for client in clients.values():
                assert client.receive_push().data == b"x"


def test_a_user_on_every_gateway_gets_a_push_once_on_each(nodes, connect, open_backend, user):
    clients = [
        connect(node).log_in(user, deviceId=f"d{number}") for number, node in enumerate(nodes)
    ]
    for node in nodes:
        receipts = open_backend(node).push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
        told = sorted((it.session.node, it.session.device_id, Outcome.Name(it.outcome)) for it in receipts)
        assert told == [(f"node-{it}", f"d{it}", "ACKNOWLEDGED") for it in range(3)]
        for client in clients:
            assert client.receive_push().data == b"x"
    for client in clients:
        with pytest.raises(TimeoutError):
            client.receive_frame(0.05)


def test_filters_and_everyone_reach_all_gateways(nodes, connect, open_backend, user):
    backend = open_backend(nodes[0])
    clients = {}
    for number, node in enumerate(nodes):
        for platform in ("ios", "web"):
            name = f"{user}-{platform}-{number}"
            clients[name] = connect(node).log_in(name, platform=platform, deviceId=name)

    def reached(**target):
        receipts = backend.push(data=b"x", deadline=LONG, **target)
        assert set(outcomes(receipts)) == {"WRITTEN"}
        mine = [it.session for it in receipts if it.session.user_id.startswith(f"{user}-")]
        for it in mine:
            assert clients[it.user_id].receive_push().data == b"x"
        return sorted(it.user_id for it in mine)

    everybody = sorted(clients)
    assert reached(everyone=True) == everybody
    assert reached(platforms=["web"]) == [name for name in everybody if "-web-" in name]
    assert reached(device_ids=[everybody[1], everybody[4]]) == [everybody[1], everybody[4]]
    ids = [backend.session_id(name) for name in everybody]
    assert reached(session_ids=ids[1:5], except_session_ids=ids[2:3]) == [
        everybody[it] for it in (1, 3, 4)
    ]
    gone = secrets.token_hex(16)
    receipts = backend.push(session_ids=[ids[5], gone], deadline=LONG)
    told = sorted((Outcome.Name(it.outcome), it.session.session_id) for it in receipts)
    assert told == [("CLOSED", gone), ("WRITTEN", ids[5])]


def test_many_users_are_found_where_they_are(nodes, connect, open_backend, user):
    """So many that all gateways are asked for all of them."""
    for number, node in enumerate(nodes):
        connect(node).log_in(f"{user}-{number}")
    users = [f"{user}-{number}" for number in range(200)]
    receipts = open_backend(nodes[1]).push(user_ids=users, deadline=LONG)
    told = {it.user_id or it.session.user_id: Outcome.Name(it.outcome) for it in receipts}
    assert len(receipts) == 200
    assert {name: told[name] for name in users[:3]} == dict.fromkeys(users[:3], "WRITTEN")
    assert set(told.values()) == {"WRITTEN", "OFFLINE"}


def test_sessions_are_listed_and_kicked_wherever_they_are(nodes, connect, open_backend, user):
    backend = open_backend(nodes[2])
    clients = [
        connect(node).log_in(user, deviceId=f"d{number}") for number, node in enumerate(nodes)
    ]
    listed = {it.node: it.device_id for it in backend.sessions(user_ids=[user])}
    assert listed == {f"node-{it}": f"d{it}" for it in range(3)}
    assert set(listed) <= {it.node for it in backend.sessions()}
    assert backend.kick(user_ids=[user], device_ids=["d0", "d2"], reason="out") == 2
    for client in (clients[0], clients[2]):
        assert client.wait_closed() == (3005, "out")
    assert is_there(clients[1])
    assert backend.kick(device_ids=["d1"], reason="out") == 1
    assert backend.sessions(user_ids=[user]) == []


def test_a_watch_sees_all_gateways_from_its_snapshot_on(nodes, connect, open_backend, user):
    def log_in(number):
        return connect(nodes[number]).log_in(user, deviceId=f"d{number}")

    before = [log_in(0), log_in(1)]
    watch = open_backend(nodes[2]).watch(user_ids=[user], snapshot=True)
    snapshot = [next(watch) for _ in range(3)]
    assert sorted(it.session.device_id for it in snapshot[:2]) == ["d0", "d1"]
    assert [Kind.Name(it.kind) for it in snapshot] == ["SNAPSHOT", "SNAPSHOT", "SNAPSHOT_END"]
    log_in(2)
    event = next(watch)
    assert (Kind.Name(event.kind), event.session.node) == ("CONNECTED", "node-2")
    before[1].close()
    event = next(watch)
    assert (Kind.Name(event.kind), event.session.node, event.close_code) == (
        "DISCONNECTED",
        "node-1",
        1000,
    )
    assert event.session.device_id == "d1"


def test_a_watch_follows_gateways_that_come_and_go(start_gateway, services, nats, connect, open_backend, user):
    nodes = start_cluster(start_gateway, services, nats.url, 2)
    watch = open_backend(nodes[0]).watch()
    config = cluster_config(services, nats.url, nodes[0].cluster)
    third = start_gateway(config, env={"HOSTNAME": "third"})
    wait_known(third, 2)
    client = connect(third).log_in(user)
    event = next(watch)
    assert (Kind.Name(event.kind), event.session.node) == ("CONNECTED", "third")
    third.process.terminate()
    assert client.wait_closed()[0] == 1001
    event = next(watch)
    assert (Kind.Name(event.kind), event.close_code) == ("DISCONNECTED", 1001)
    # The watch has survived that.
    connect(nodes[1]).log_in(user)
    assert Kind.Name(next(watch).kind) == "CONNECTED"
    # But not a gateway of which it can only be told that nothing is known.
    nodes[1].kill()
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "begin again, with a snapshot" in ended.value.details()


def test_pushes_of_one_stream_keep_their_order_whichever_way_they_go(nodes, connect, open_backend, user):
    client = connect(nodes[0]).log_in(user, deviceId=user)
    stream = open_backend(nodes[1]).push_stream()
    for number in range(120):
        target = {"user_ids": [user]} if number % 3 else {"device_ids": [user]}
        stream.send(push_id=str(number), data=str(number).encode(), deadline=LONG, **target)
    stream.end()
    assert [client.receive_push().data for _ in range(120)] == [str(n).encode() for n in range(120)]
    assert set(outcomes(list(stream))) == {"WRITTEN"}


def test_clusters_of_different_names_know_nothing_of_each_other(
    start_gateway, services, nats, connect, open_backend, user
):
    one, other = (start_cluster(start_gateway, services, nats.url, 1)[0] for _ in range(2))
    connect(one).log_in(user)
    assert outcomes(open_backend(other).push(user_ids=[user])) == ["OFFLINE"]
    assert open_backend(other).sessions() == []


def test_more_than_nats_takes_is_refused_wherever_the_session_is(
    start_gateway, services, connect, open_backend, user
):
    nats = Nats()
    try:
        nodes = start_cluster(start_gateway, services, nats.url, 2)
        client = connect(nodes[0]).log_in(user)
        for node in nodes:
            backend = open_backend(node)
            code, text = status_of(lambda: backend.begin_push(user_ids=[user], data=bytes(1024 * 1024)))
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert text == "data has 1048576 bytes; the cluster's NATS takes 983040"
            assert outcomes(backend.push(user_ids=[user], data=bytes(983040))) == ["WRITTEN"]
            assert len(client.receive_push().data) == 983040
    finally:
        nats.stop()


def test_a_user_may_be_called_anything(nodes, connect, open_backend, user):
    names = [f"{user} {odd}" for odd in ("a.b", "*", ">", "\u00fc\u4f60", "\r\n", "x" * 200)]
    clients = [connect(nodes[0]).log_in(name) for name in names]
    receipts = open_backend(nodes[1]).push(user_ids=names, data=b"x", deadline=LONG)
    assert sorted(it.session.user_id for it in receipts) == sorted(names)
    assert {client.receive_push().data for client in clients} == {b"x"}


def test_a_user_who_moves_is_at_one_gateway_only(nodes, connect, open_backend, user):
    backend = open_backend(nodes[2])
    for number in range(3):
        name = f"{user}-{number}"
        older = connect(nodes[0]).log_in(name)
        # No login of long ago is still remembered as expected.
        time.sleep(2.2)
        connect(nodes[1]).log_in(name)
        assert older.wait_closed()[0] == 3004
        # Nobody waits for the gateway that gave way, or doubts what it has.
        eventually(lambda name=name: len(backend.sessions(user_ids=[name])) == 1)
        began = time.monotonic()
        receipts = backend.push(user_ids=[name], data=b"x", deadline=LONG)
        told = [(Outcome.Name(it.outcome), it.session.node) for it in receipts]
        assert told == [("WRITTEN", "node-1")]
        assert time.monotonic() - began < LONG / 4


def test_very_many_users_are_asked_for_in_parts(nodes, connect, open_backend, user):
    # More than a message holds, of which the last are there.
    users = [f"{user}-{number:05}-{'z' * 40}" for number in range(25_000)]
    for number, name in enumerate(users[-60:]):
        connect(nodes[number % 3]).log_in(name, deviceId="d" * 256)
    receipts = open_backend(nodes[0]).push(user_ids=users, data=b"x", deadline=LONG)
    assert Counter(outcomes(receipts)) == {"OFFLINE": len(users) - 60, "WRITTEN": 60}
    reached = {it.session.user_id for it in receipts if it.outcome == Outcome.WRITTEN}
    assert reached == set(users[-60:])
    assert len({it.user_id for it in receipts} - {""}) == len(users) - 60
    sessions = open_backend(nodes[1]).sessions(user_ids=users)
    assert {it.user_id for it in sessions} == reached and len(sessions) == 60
    assert open_backend(nodes[2]).kick(user_ids=users) == 60


def test_a_push_in_parts_is_not_overtaken(nodes, connect, open_backend, user):
    # A large event to so many users that one message does not hold both.
    users = [f"{user}-{number:03}-{'z' * 245}" for number in range(300)]
    clients = [connect(nodes[1]).log_in(name) for name in users[-20:]]
    data = b"1" * (960 * 1024)
    for _ in range(2):
        stream = open_backend(nodes[0]).push_stream()
        stream.send(user_ids=users, data=data, deadline=LONG, push_id="one")
        stream.send(platforms=["ios"], data=b"2", deadline=LONG, push_id="two")
        stream.end()
        told = Counter((it.push_id, Outcome.Name(it.outcome)) for it in stream)
        assert told["one", "WRITTEN"] == 20 and told["one", "OFFLINE"] == 280
        for client in clients:
            assert [client.receive_push().data[:1] for _ in range(2)] == [b"1", b"2"]


def test_a_snapshot_may_be_large_and_read_slowly(nodes, connect_raw, open_backend, user):
    # What clients say about themselves fills more than one message of NATS.
    long = "x" * 1000
    for number in range(450):
        raw = connect_raw(nodes[1])
        raw.log_in(f"{user}-{number:03}-{long[:400]}", deviceId=long[:256], appVersion=long, language=long)
    # So that little is on its way, and the gateway has to wait for its reader.
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]
    seen = Counter()
    for event in open_backend(nodes[0], options=options).watch(snapshot=True, platforms=["ios"]):
        if event.kind == Kind.SNAPSHOT_END:
            break
        seen[event.session.user_id] += event.session.user_id.startswith(user)
        # Longer in all than gateways have for saying what is there.
        time.sleep(0.02)
    assert sum(seen.values()) == 450
