"""The close codes, each with the event that it stands for. 3001 is with encryption."""

import signal
import threading
from pathlib import Path

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import gateway_config
from probe_pb2 import EchoReq, WorkReq
from processes import as_event, eventually
from raw_client import RawClient
from session_client import (
    KEEP_ALIVE,
    SET_CXN_PARAMS,
    SET_USER_PARAMS,
    Code,
    common_resp,
    cxn_params,
    encode_request,
)
from websockets.exceptions import ConnectionClosed

NO_REQUEST = b"\xff\xff\xff"


# 1001


def test_a_gateway_that_is_told_to_stop_closes_with_1001_and_exits_with_0(
    start_gateway, connect, services
):
    gateway = start_gateway(gateway_config(services))
    clients = [connect(gateway).log_in(), connect(gateway).wait_connected()]
    gateway.process.send_signal(signal.SIGTERM)
    assert [client.wait_closed()[0] for client in clients] == [1001, 1001]
    assert gateway.wait_exit() == 0


def test_a_call_in_flight_is_answered_before_1001(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, drain={"delay": "0s", "period": "1s"}))
    client = connect(gateway).log_in()
    req_id = client.send("/v1/probe/work", WorkReq(id="last", group="drain", millis=400))
    eventually(lambda: services.count("drain").executing)
    gateway.process.send_signal(signal.SIGTERM)
    assert client.answer_to(req_id).code == Code.Success
    assert client.wait_closed()[0] == 1001


# 1008


def test_frames_that_are_no_requests_close_with_1008_after_eight_in_a_row(client):
    for _ in range(8):
        client.send_frame(NO_REQUEST)
    answers = [client.receive() for _ in range(7)]
    assert {(answer.code, answer.reqId) for answer in answers} == {(Code.RequestError, "")}
    assert client.wait_closed()[0] == 1008


def test_a_good_frame_between_bad_ones_starts_the_count_again(client):
    for _ in range(2):
        for _ in range(7):
            client.send_frame(NO_REQUEST)
            assert client.receive().code == Code.RequestError
        assert client.call(KEEP_ALIVE).code == Code.Success


# 1009

LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def limited_config(services):
    return gateway_config(services, edge={"max_message": "64KiB"})


def padded_request(size):
    """A RequestBody of exactly `size` bytes."""
    blob = EchoReq(blob=b"x" * size).SerializeToString()
    excess = len(encode_request("x", "/v1/probe/echo", blob)) - size
    blob = EchoReq(blob=b"x" * (size - excess)).SerializeToString()
    frame = encode_request("x", "/v1/probe/echo", blob)
    assert len(frame) == size
    return frame


def test_a_message_of_exactly_the_limit_is_served(start_gateway, connect, limited_config):
    client = connect(start_gateway(limited_config)).log_in()
    client.send_frame(padded_request(LIMIT))
    assert client.receive().code == Code.Success


def test_a_message_over_the_limit_closes_with_1009(start_gateway, connect, limited_config):
    client = connect(start_gateway(limited_config)).log_in()
    client.send_frame(padded_request(LIMIT + 1))
    assert client.wait_closed()[0] == 1009


def test_a_message_over_the_limit_in_small_pieces_closes_with_1009(start_gateway, connect, limited_config):
    client = connect(start_gateway(limited_config)).log_in()
    frame = padded_request(LIMIT + 1)
    client.ws.send([frame[start : start + 5000] for start in range(0, len(frame), 5000)])
    assert client.wait_closed()[0] == 1009


# 1013


def is_admitted(connect, gateway, **options):
    """Whether a new connection is greeted; else it must be closed with 1013."""
    newcomer = connect(gateway, **options)
    try:
        if newcomer.receive_frame() == "connected":
            newcomer.set_cxn_params()
            return newcomer
    except ConnectionClosed as closed:
        assert closed.rcvd and closed.rcvd.code == 1013
    return None


def is_warning_of_1013(event):
    return event.get("level") == "WARN" and "closed with 1013" in event.get("message", "")


def test_a_full_gateway_closes_newcomers_with_1013(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, edge={"max_connections": 2}))
    first, second = connect(gateway).log_in(), connect(gateway).log_in()
    for _ in range(8):
        assert connect(gateway).wait_closed()[0] == 1013
    assert [client.call(KEEP_ALIVE).code for client in (first, second)] == [Code.Success] * 2
    # One line for all workers.
    [warning] = [event for event in map(as_event, gateway.lines) if is_warning_of_1013(event)]
    assert (warning["reason"], warning["key"]) == ("the gateway is full", "edge.max_connections")


def test_a_place_is_free_again_when_a_client_leaves(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, edge={"max_connections": 1}))
    connect(gateway).log_in().close()
    eventually(lambda: is_admitted(connect, gateway))


def test_one_address_may_not_have_more_than_its_share(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, edge={"max_connections_per_ip": 1}))
    connect(gateway, source="127.0.0.1").log_in()
    assert connect(gateway, source="127.0.0.1").wait_closed()[0] == 1013
    connect(gateway, source="127.0.0.2").log_in()
    warning = gateway.wait_event(is_warning_of_1013)
    assert (warning["peer"], warning["key"]) == ("127.0.0.1", "edge.max_connections_per_ip")


def test_an_addresss_place_is_free_again_when_its_client_leaves(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, edge={"max_connections_per_ip": 1}))
    connect(gateway).log_in().close()
    eventually(lambda: is_admitted(connect, gateway))


# 3000


def test_a_refused_login_is_answered_with_auth_error_then_closed_with_3000(
    start_gateway, connect, services
):
    rpc = {
        "upstream": "probe",
        "rpc": "probe.Probe/BeforeConnect",
        "request": {"connParam": {"userId": "{user_id}", "token": "{token}"}},
        "accept_when": {"code": 0, "msg": ""},
        "reason": "msg",
    }
    gateway = start_gateway(gateway_config(services, auth={"rpc": rpc}))
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    answer = client.set_user_params("user-1", "a wrong token")
    assert (answer.code, answer.method) == (Code.AuthError, SET_USER_PARAMS)
    assert common_resp(answer).code == Code.AuthError
    assert common_resp(answer).msg == "not the token of user-1"
    assert client.wait_closed()[0] == 3000


# 3002


def test_an_unknown_platform_closes_with_3002_at_set_cxn_params(connect):
    client = connect().wait_connected()
    client.send(SET_CXN_PARAMS, cxn_params(platform="symbian"))
    assert client.wait_closed()[0] == 3002


def test_a_missing_platform_closes_with_3002_at_set_user_params(connect):
    client = connect().wait_connected()
    assert client.set_cxn_params(platform="").code == Code.Success
    client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="user-1", token="t"))
    assert client.wait_closed()[0] == 3002


def test_a_missing_platform_can_be_mended_by_another_set_cxn_params(connect):
    client = connect().wait_connected()
    client.set_cxn_params(platform="")
    client.set_cxn_params(platform="android")
    assert client.set_user_params().code == Code.Success


def test_platforms_are_those_of_the_configuration(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, session={"platforms": ["fridge"]}))
    connect(gateway).log_in(platform="fridge")
    client = connect(gateway).wait_connected()
    client.send(SET_CXN_PARAMS, cxn_params(platform="ios"))
    assert client.wait_closed()[0] == 3002


# 3003


def test_a_missing_device_id_closes_with_3003_at_set_user_params(connect):
    client = connect().wait_connected()
    assert client.set_cxn_params(deviceId="").code == Code.Success
    client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="user-1", token="t"))
    assert client.wait_closed()[0] == 3003


def test_a_missing_device_id_can_be_mended_by_another_set_cxn_params(connect):
    client = connect().wait_connected()
    client.set_cxn_params(deviceId="")
    client.set_cxn_params(deviceId="device-2")
    assert client.set_user_params().code == Code.Success


# 3006


def test_a_client_that_stops_reading_is_closed_with_3006(start_gateway, services):
    """About 60 MB of answers: more than all socket buffers on the way and the outbox hold."""
    gateway = start_gateway(gateway_config(services, session={"outbox": "128KiB"}))
    with RawClient(gateway.url, receive_buffer=64 * 1024) as raw:
        raw.queue_request("1", SET_CXN_PARAMS, cxn_params())
        raw.queue_request("2", SET_USER_PARAMS, session.SetUserParamsReq(userId="u", token="t"))
        for number in range(600):
            work = WorkReq(id=f"big-{number}", group="overflow", answer_bytes=100_000)
            raw.queue_request(str(number), "/v1/probe/work", work)
        # Requests that the gateway no longer reads must not block this test.
        sender = threading.Thread(target=raw.flush, daemon=True)
        sender.start()
        event = gateway.wait_event(lambda event: event.get("code") == 3006)
        assert (event["level"], event["user"]) == ("INFO", "u"), event
        assert raw.wait_closed() == 3006


# 3007


@pytest.fixture(scope="module")
def impatient_config(services):
    return gateway_config(services, session={"handshake_timeout": "500ms"})


def test_a_client_that_says_nothing_is_closed_with_3007(start_gateway, connect, impatient_config):
    assert connect(start_gateway(impatient_config)).wait_closed()[0] == 3007


def test_only_a_valid_set_cxn_params_ends_the_handshake(start_gateway, connect, impatient_config):
    client = connect(start_gateway(impatient_config)).wait_connected()
    client.send(KEEP_ALIVE)
    client.send(SET_CXN_PARAMS, b"\xff")
    client.send(SET_CXN_PARAMS, cxn_params(aesKey=b"alone"))
    assert client.wait_closed()[0] == 3007


# 3008


@pytest.fixture(scope="module")
def pinging_config(services):
    return gateway_config(services, session={"ping_interval": "200ms", "pong_timeout": "400ms"})


def test_a_client_that_answers_no_ping_is_closed_with_3008(start_gateway, pinging_config):
    gateway = start_gateway(pinging_config)
    with RawClient(gateway.url) as raw:
        raw.queue_request("1", SET_CXN_PARAMS, cxn_params())
        raw.flush()
        assert raw.wait_closed() == 3008


def test_a_client_that_stops_reading_with_room_in_its_outbox_is_found_out(
    start_gateway, services
):
    """One answer at a time never overflows the outbox, but fills it so far that the gateway
    stops reading, and so cannot hear a pong."""
    limits = {"outbox": "1MiB", "max_in_flight": 1}
    limits |= {"ping_interval": "200ms", "pong_timeout": "400ms"}
    gateway = start_gateway(gateway_config(services, session=limits))
    with RawClient(gateway.url, receive_buffer=64 * 1024) as raw:
        raw.queue_request("1", SET_CXN_PARAMS, cxn_params())
        raw.queue_request("2", SET_USER_PARAMS, session.SetUserParamsReq(userId="u", token="t"))
        for number in range(40):
            work = WorkReq(id=f"deaf-{number}", group="deaf", answer_bytes=400_000)
            raw.queue_request(str(number), "/v1/probe/work", work)
        threading.Thread(target=raw.flush, daemon=True).start()
        gateway.wait_line(lambda line: '"code":3008' in line)


def test_pings_of_a_client_that_does_not_read_take_no_memory(start_gateway, services):
    """Every ping wants a pong, so none is read while none can be written. The kernel holds a few
    megabytes for both sides; the gateway itself nothing to speak of."""
    limits = {"ping_interval": "1s", "pong_timeout": "1s"}
    gateway = start_gateway(gateway_config(services, session=limits))
    with RawClient(gateway.url, receive_buffer=4096) as raw:
        raw.queue_request("1", SET_CXN_PARAMS, cxn_params())
        raw.flush()
        before = resident_bytes(gateway)
        for _ in range(1000):
            raw.protocol.send_ping(b"x" * 125)
        thousand = b"".join(raw.protocol.data_to_send())
        raw.sock.settimeout(0.5)
        try:
            for _ in range(1000):
                raw.sock.sendall(thousand)
        except TimeoutError:
            pass  # it reads no more: as it should be
        assert resident_bytes(gateway) - before < 8 << 20
        gateway.wait_line(lambda line: '"code":3008' in line)


def resident_bytes(gateway):
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kibibytes) * 1024


def test_a_client_that_answers_pings_stays(start_gateway, connect, pinging_config):
    client = connect(start_gateway(pinging_config)).log_in()
    with pytest.raises(TimeoutError):
        client.receive_frame(timeout=1.5)
    assert client.call(KEEP_ALIVE).code == Code.Success


def test_a_client_that_sends_frames_needs_to_answer_no_ping(start_gateway, pinging_config):
    gateway = start_gateway(pinging_config)
    with RawClient(gateway.url) as raw:
        raw.queue_request("0", SET_CXN_PARAMS, cxn_params())
        raw.flush()
        assert raw.next_answer().reqId == "0"
        # Slow enough to last for several pings, and never a pong.
        for number in range(15):
            raw.queue_request(str(number), "/v1/probe/white/work", WorkReq(id="slow", millis=100))
            raw.flush()
            assert raw.next_answer().reqId == str(number)
