"""What backends can see of sessions, and how they end them: ListSessions, WatchSessions, Kick."""

import datetime
import socket
import struct

import grpc
import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from probe_pb2 import EchoReq, EchoResp, WorkReq
from push_client import ACKNOWLEDGED, QUEUED, Kind, outcomes
from session_client import SET_USER_PARAMS, Code

LONG = 60
KIB = 1024


def own_id(client):
    """The session's id as its calls carry it."""
    response = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    return EchoReq.FromString(response.request).commonReq.sessionId


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def at(timestamp):
    return timestamp.ToDatetime(datetime.timezone.utc)


# ListSessions


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_session_is_listed_with_all_that_is_known_of_it(connect, backend, user, session_key, encrypted):
    before = now()
    client = connect().log_in(
        user,
        public_key=session_key.public if encrypted else None,
        platform="web",
        deviceId="device-7",
        appVersion="3.1.4",
        language="pt-BR",
    )
    [listed] = backend.sessions(user_ids=[user])
    assert listed.session_id == own_id(client)
    assert (listed.user_id, listed.platform, listed.device_id) == (user, "web", "device-7")
    assert (listed.app_version, listed.language) == ("3.1.4", "pt-BR")
    assert (listed.remote_ip, listed.encrypted) == ("127.0.0.1", encrypted)
    assert before <= at(listed.connected_at) <= now()
    assert listed.node


def test_every_session_of_a_gateway_is_on_the_same_node(connect, start_gateway, services, open_backend):
    config = gateway_config(services, push=PUSH)
    gateway = start_gateway(config, env={"HOSTNAME": "gateway-7"})
    for number in range(3):
        connect(gateway).log_in(f"user-{number}")
    assert [it.node for it in open_backend(gateway).sessions()] == ["gateway-7"] * 3


def test_the_address_behind_a_trusted_proxy_is_listed(start_gateway, services, connect, open_backend):
    edge = {"trusted_proxies": ["127.0.0.1/32"]}
    gateway = start_gateway(gateway_config(services, edge=edge, push=PUSH))
    for user, forwarded in (("v4", "203.0.113.9"), ("v6", "2001:db8::7")):
        connect(gateway, headers={"X-Forwarded-For": f"1.2.3.4, {forwarded}"}).log_in(user)
        [listed] = open_backend(gateway).sessions(user_ids=[user])
        assert listed.remote_ip == forwarded


def test_each_condition_lists_what_it_means(connect, start_gateway, services, open_backend):
    gateway = start_gateway(gateway_config(services, push=PUSH))
    backend = open_backend(gateway)
    everybody = [
        (user, platform, device)
        for user in ("ann", "bob")
        for platform in ("ios", "web")
        for device in ("d1", "d2")
    ]
    for user, platform, device in everybody:
        connect(gateway).log_in(user, platform=platform, deviceId=device)
    # Not logged in: not there.
    connect(gateway).wait_connected().set_cxn_params()
    ids = {(it.user_id, it.platform, it.device_id): it.session_id for it in backend.sessions()}
    assert sorted(ids) == everybody

    def listed(**target):
        found = backend.sessions(**target)
        return sorted((it.user_id, it.platform, it.device_id) for it in found)

    assert listed(everyone=True) == everybody
    assert listed(user_ids=["ann"]) == [it for it in everybody if it[0] == "ann"]
    assert listed(user_ids=["ann", "nobody"], platforms=["web"]) == [
        ("ann", "web", "d1"),
        ("ann", "web", "d2"),
    ]
    assert listed(platforms=["ios"], device_ids=["d2"]) == [("ann", "ios", "d2"), ("bob", "ios", "d2")]
    assert listed(device_ids=["d1"], user_ids=["bob"]) == [("bob", "ios", "d1"), ("bob", "web", "d1")]
    one = everybody[3]
    assert listed(session_ids=[ids[one]]) == [one]
    assert listed(session_ids=[ids[one]], user_ids=["bob"]) == []
    assert listed(session_ids=["0" * 32, "no session"]) == []
    excepted = [ids[it] for it in everybody[2:]]
    assert listed(except_session_ids=excepted) == everybody[:2]
    assert listed(user_ids=["nobody"]) == []


# Kick


def test_a_kick_closes_with_3005_and_its_reason(connect, backend, user):
    clients = [connect().log_in(user) for _ in range(3)]
    other = connect().log_in(f"{user}-other")
    assert backend.kick(reason="Zu viele Geräte 💥", user_ids=[user]) == 3
    # At once: nobody waits for the clients to go.
    assert backend.sessions(user_ids=[user]) == []
    assert outcomes(backend.push(user_ids=[user], deadline=LONG)) == ["OFFLINE"]
    assert backend.kick(reason="again", user_ids=[user]) == 0
    assert [client.wait_closed() for client in clients] == [(3005, "Zu viele Geräte 💥")] * 3
    assert own_id(other) == backend.session_id(f"{user}-other")


@pytest.mark.parametrize("reason", ["x" * 123, "é" * 61 + "x"], ids=["123 letters", "two bytes each"])
def test_the_longest_reason_arrives_whole(connect, backend, user, reason):
    client = connect().log_in(user)
    backend.kick(reason=reason, user_ids=[user])
    assert client.wait_closed() == (3005, reason)


def test_a_kick_ends_only_the_sessions_that_it_names(connect, backend, user):
    first, second = (connect().log_in(user, deviceId=device) for device in ("d1", "d2"))
    kicked = own_id(first)
    assert backend.kick(session_ids=[kicked, "0" * 32], user_ids=[user]) == 1
    assert first.wait_closed()[0] == 3005
    assert [it.session_id for it in backend.sessions(user_ids=[user])] == [own_id(second)]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_what_was_pushed_before_a_kick_still_arrives(connect, backend, user, session_key, encrypted):
    client = connect().log_in(user, public_key=session_key.public if encrypted else None)
    for number in range(50):
        backend.push(user_ids=[user], data=b"%d" % number, confirm=QUEUED)
    call = backend.begin_push(user_ids=[user], data=b"last", confirm=ACKNOWLEDGED, deadline=LONG)
    call.initial_metadata()
    assert backend.kick(user_ids=[user]) == 1
    assert [client.receive_push().data for _ in range(51)] == [*(b"%d" % n for n in range(50)), b"last"]
    assert client.wait_closed() == (3005, "kicked")
    assert outcomes(call) == ["ACKNOWLEDGED"]


def test_a_kicked_session_does_not_wait_for_its_calls(connect, backend, user):
    client = connect().log_in(user)
    client.send("/v1/probe/work", WorkReq(id=f"{user}-slow", millis=3000))
    assert backend.kick(user_ids=[user]) == 1
    assert client.wait_closed()[0] == 3005


def test_a_kicked_client_may_come_back(connect, backend, user):
    connect().log_in(user)
    backend.kick(user_ids=[user])
    client = connect().log_in(user)
    assert outcomes(backend.push(user_ids=[user], data=b"welcome", confirm=ACKNOWLEDGED)) == ["ACKNOWLEDGED"]
    assert client.receive_push().data == b"welcome"


# WatchSessions


def told(event):
    return Kind.Name(event.kind), event.session.user_id


def test_a_watch_begins_with_a_snapshot_where_it_is_asked_for(connect, backend, user):
    for number in range(3):
        connect().log_in(user, deviceId=f"d{number}")
    listed = backend.sessions(user_ids=[user])
    watch = backend.watch(snapshot=True, user_ids=[user])
    snapshot = [next(watch) for _ in range(3)]
    assert {Kind.Name(event.kind) for event in snapshot} == {"SNAPSHOT"}
    by_id = lambda session: session.session_id  # noqa: E731
    assert sorted((event.session for event in snapshot), key=by_id) == sorted(listed, key=by_id)
    end = next(watch)
    assert (Kind.Name(end.kind), end.HasField("session")) == ("SNAPSHOT_END", False)
    before = now()
    late = connect().log_in(user, deviceId="late")
    event = next(watch)
    assert (Kind.Name(event.kind), event.session.device_id) == ("CONNECTED", "late")
    assert before <= at(event.at) <= now()
    assert event.session == backend.sessions(session_ids=[own_id(late)])[0]
    late.close()
    gone = next(watch)
    assert (Kind.Name(gone.kind), gone.session) == ("DISCONNECTED", event.session)


def test_a_snapshot_of_nobody_ends_at_once(backend, user):
    watch = backend.watch(snapshot=True, user_ids=[user])
    assert Kind.Name(next(watch).kind) == "SNAPSHOT_END"


def test_without_a_snapshot_a_watch_tells_only_what_happens(connect, backend, user):
    connect().log_in(user)
    watch = backend.watch(user_ids=[user])
    connect().log_in(f"{user}-other")
    connect().log_in(user, deviceId="second").close()
    assert [told(next(watch)) for _ in range(2)] == [("CONNECTED", user), ("DISCONNECTED", user)]


def test_a_watch_is_told_of_logins_and_not_of_connections(connect, backend, user):
    watch = backend.watch(user_ids=[user])
    strangers = [connect().wait_connected() for _ in range(2)]
    strangers[0].set_cxn_params()
    strangers[0].close()
    strangers[1].set_cxn_params(deviceId="the one")
    strangers[1].set_user_params(user)
    event = next(watch)
    assert (*told(event), event.session.device_id) == ("CONNECTED", user, "the one")


def test_a_watch_tells_only_of_what_its_target_means(connect, backend, user):
    connect().log_in(user, platform="ios", deviceId="d1")
    excepted = backend.session_id(user)
    watch = backend.watch(
        snapshot=True,
        user_ids=[user],
        platforms=["ios"],
        device_ids=["d1", "d2"],
        except_session_ids=[excepted],
    )
    assert Kind.Name(next(watch).kind) == "SNAPSHOT_END"
    connect().log_in(user, platform="web", deviceId="d1")
    connect().log_in(user, platform="ios", deviceId="d3")
    connect().log_in(user, platform="ios", deviceId="d2")
    event = next(watch)
    assert (event.session.platform, event.session.device_id) == ("ios", "d2")


def test_an_unmentioned_target_watches_all(connect, start_gateway, services, open_backend):
    gateway = start_gateway(gateway_config(services, push=PUSH))
    watch = open_backend(gateway).watch(snapshot=True)
    assert Kind.Name(next(watch).kind) == "SNAPSHOT_END"
    for user in ("ann", "bob"):
        connect(gateway).log_in(user)
    assert [told(next(watch)) for _ in range(2)] == [("CONNECTED", "ann"), ("CONNECTED", "bob")]


def test_nothing_is_missed_or_told_twice_between_snapshot_and_events(connect, open_backend, user):
    """While sessions come and go, every watcher's account adds up to what there is."""
    backend = open_backend()
    kept = []
    accounts = []
    for number in range(20):
        client = connect().log_in(user, deviceId=f"d{number}")
        accounts.append(backend.watch(snapshot=True, user_ids=[user]))
        if number % 2:
            client.close()
        else:
            kept.append(client)
    connect().log_in(user, deviceId="end")
    for watch in accounts:
        there = {}
        for event in watch:
            session_id = event.session.session_id
            if event.kind in (Kind.SNAPSHOT, Kind.CONNECTED):
                assert session_id not in there
                there[session_id] = event.session.device_id
            elif event.kind == Kind.DISCONNECTED:
                del there[session_id]
            # The last to come, and the last to go, in whichever order.
            if sorted(there.values()) == sorted([*(f"d{n}" for n in range(0, 20, 2)), "end"]):
                break


def leave(client):
    client.ws.close(1000, "good night")


def leave_with_own_code(client):
    client.ws.close(4711, "own words")


def leave_without_code(client):
    client.ws.protocol.send_close()
    client.ws.socket.sendall(b"".join(client.ws.protocol.data_to_send()))


ENDS = {
    "the client says goodbye": (leave, (1000, "good night")),
    "the client has a code of its own": (leave_with_own_code, (4711, "own words")),
    "the client gives no code": (leave_without_code, (1005, "")),
    "the client breaks the protocol": (lambda it: it.ws.socket.sendall(b"\xff" * 20), (1002, "protocol error")),
    "the client sends too much": (lambda it: it.ws.send(bytes(2 * KIB * KIB)), (1009, "message too big")),
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_watch_tells_how_a_session_ended(connect, backend, user, kind):
    end, expected = ENDS[kind]
    client = connect().log_in(user)
    session_id = own_id(client)
    watch = backend.watch(user_ids=[user])
    end(client)
    event = next(watch)
    assert told(event) == ("DISCONNECTED", user)
    assert (event.close_code, event.reason) == expected
    assert event.session.session_id == session_id


def test_a_connection_that_is_reset_is_told_as_1006(connect_raw, backend, user):
    raw = connect_raw(user=user)
    watch = backend.watch(user_ids=[user])
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.sock.close()
    event = next(watch)
    assert (*told(event), event.close_code) == ("DISCONNECTED", user, 1006)
    assert event.reason


def test_a_connection_that_ends_without_a_close_frame_is_told_as_1006(connect_raw, backend, user):
    raw = connect_raw(user=user)
    watch = backend.watch(user_ids=[user])
    raw.sock.shutdown(socket.SHUT_WR)
    assert next(watch).close_code == 1006


def test_a_kick_is_told_with_its_reason(connect, backend, user):
    connect().log_in(user)
    watch = backend.watch(user_ids=[user])
    backend.kick(reason="enough", user_ids=[user])
    event = next(watch)
    assert (*told(event), event.close_code, event.reason) == ("DISCONNECTED", user, 3005, "enough")


def test_a_session_that_a_newer_one_replaces_is_told_before_it(
    connect, start_gateway, services, open_backend
):
    config = gateway_config(services, session={"one_session_per": "device"}, push=PUSH)
    gateway = start_gateway(config)
    older = connect(gateway).log_in("ann")
    older_id = own_id(older)
    watch = open_backend(gateway).watch()
    newer = connect(gateway).log_in("ann")
    gone, came = next(watch), next(watch)
    assert (*told(gone), gone.close_code) == ("DISCONNECTED", "ann", 3004)
    assert (gone.session.session_id, gone.reason) == (older_id, "replaced by a newer connection")
    assert (*told(came), came.session.session_id) == ("CONNECTED", "ann", own_id(newer))
    assert older.wait_closed() == (3004, "replaced by a newer connection")


def test_a_refused_login_on_a_session_ends_it_with_3000(
    connect, start_gateway, services, open_backend
):
    judge = {
        "upstream": "probe",
        "rpc": "probe.Probe/BeforeConnect",
        "request": {
            "connParam": {
                "userId": "{user_id}",
                "token": "{token}",
                "platform": "{platform}",
                "deviceId": "{device_id}",
                "ips": "{remote_ip}",
            }
        },
        "accept_when": {"code": 0, "msg": ""},
        "reason": "msg",
    }
    gateway = start_gateway(gateway_config(services, auth={"rpc": judge}, push=PUSH))
    watch = open_backend(gateway).watch()
    # Refused from the start: nobody hears of it.
    connect(gateway).wait_connected().set_cxn_params()
    stranger = connect(gateway).wait_connected()
    stranger.set_cxn_params()
    assert stranger.set_user_params("eve", "wrong").code == Code.AuthError
    client = connect(gateway).log_in("ann", "ann/ios/device-1/127.0.0.1")
    assert told(next(watch)) == ("CONNECTED", "ann")
    client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="ann", token="wrong"))
    event = next(watch)
    assert (*told(event), event.close_code) == ("DISCONNECTED", "ann", 3000)


def test_an_idle_session_is_told_as_3008(connect_raw, start_gateway, services, open_backend):
    session = {"ping_interval": "100ms", "pong_timeout": "100ms"}
    gateway = start_gateway(gateway_config(services, session=session, push=PUSH))
    raw = connect_raw(gateway, user="ann")
    watch = open_backend(gateway).watch(snapshot=True)
    events = [next(watch) for _ in range(3)][-1:]
    assert [(*told(event), event.close_code) for event in events] == [("DISCONNECTED", "ann", 3008)]
    assert raw.wait_closed() == 3008


def test_a_watch_that_is_given_up_is_forgotten(connect, open_backend, gateway, user):
    for _ in range(100):
        watch = open_backend().watch(snapshot=True)
        watch.cancel()
    backend = open_backend()
    watch = backend.watch(user_ids=[user])
    connect().log_in(user)
    assert told(next(watch)) == ("CONNECTED", user)


def test_a_stopping_gateway_ends_its_watches(start_gateway, services, connect, open_backend):
    gateway = start_gateway(gateway_config(services, push=PUSH))
    client = connect(gateway).log_in("ann")
    watch = open_backend(gateway).watch()
    gateway.process.terminate()
    event = next(watch)
    assert (*told(event), event.close_code) == ("DISCONNECTED", "ann", 1001)
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert client.wait_closed()[0] == 1001
    assert gateway.wait_exit() == 0
