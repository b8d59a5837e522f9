"""The course of a plain session, byte for byte where the protocol fixes the bytes."""

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import gateway_config
from probe_pb2 import EchoBareReq, EchoReq, EchoResp, WorkReq, WorkResp
from processes import as_event
from session_client import (
    KEEP_ALIVE,
    SET_CXN_PARAMS,
    SET_USER_PARAMS,
    Code,
    common_resp,
    cxn_params,
    encode_request,
)


def success_frame(req_id, method, data=b""):
    body = session.ResponseBody(reqId=req_id, method=method, data=data)
    push = session.PushBody(event=session.PushResponseBody, data=body.SerializeToString())
    return push.SerializeToString()


def test_the_first_frame_is_the_text_connected(connect):
    assert connect().receive_frame() == "connected"


def test_set_cxn_params_is_answered_with_success_and_no_data(connect):
    client = connect().wait_connected()
    client.send_frame(encode_request("r1", SET_CXN_PARAMS, cxn_params().SerializeToString()))
    assert client.receive_frame() == success_frame("r1", SET_CXN_PARAMS)


def test_an_answer_has_exactly_the_bytes_of_the_protocol(connect):
    """The expected bytes are written by hand: no protobuf library on either side of the equation."""
    client = connect().wait_connected()
    client.set_cxn_params()
    client.send_frame(b"\x0a\x01a" + b"\x12\x12" + b"/v1/conn/keepAlive")
    body = b"\x0a\x01a" + b"\x12\x12" + b"/v1/conn/keepAlive"
    assert client.receive_frame() == b"\x08\x02" + b"\x12" + bytes([len(body)]) + body


def test_set_user_params_is_answered_with_success_and_no_data(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    request = session.SetUserParamsReq(userId="user-1", token="token-1").SerializeToString()
    client.send_frame(encode_request("r2", SET_USER_PARAMS, request))
    assert client.receive_frame() == success_frame("r2", SET_USER_PARAMS)


def test_a_business_request_is_answered_with_the_services_response(client):
    answer = client.call("/v1/probe/echoBare", EchoBareReq(text="hello"))
    assert (answer.code, answer.method) == (Code.Success, "/v1/probe/echoBare")
    response = EchoResp.FromString(answer.data)
    assert response.rpc == "probe.Probe/EchoBare"
    assert EchoBareReq.FromString(response.request).text == "hello"


def test_requests_sent_right_behind_the_parameters_are_read_as_logged_in(connect):
    client = connect()
    ids = [
        client.send_cxn_params(),
        client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="user-1", token="t")),
        client.send("/v1/probe/echo", EchoReq(text="at once")),
    ]
    client.wait_connected()
    answers = [client.answer_to(req_id) for req_id in ids]
    assert [answer.code for answer in answers] == [Code.Success] * 3
    echoed = EchoReq.FromString(EchoResp.FromString(answers[2].data).request)
    assert echoed.commonReq.userId == "user-1"


def test_answers_come_in_the_order_in_which_the_services_finish(client):
    slow = client.send("/v1/probe/work", WorkReq(id="order-a", wait_for="order-b", millis=200))
    quick = client.send("/v1/probe/work", WorkReq(id="order-b"))
    assert [client.receive().reqId for _ in range(2)] == [quick, slow]


@pytest.mark.parametrize("req_id", ["7", "请求-1", "a b\r\nc: d", "x" * 5000, "\u0000"])
def test_the_request_id_comes_back_as_it_was(client, req_id):
    client.send("/v1/probe/echo", EchoReq(text="hi"), req_id=req_id)
    answer = client.receive()
    assert (answer.code, answer.reqId) == (Code.Success, req_id)


def test_an_empty_request_id_is_an_id_too(client):
    client.send_frame(encode_request("", "/v1/probe/echo", b""))
    answer = client.receive()
    assert (answer.code, answer.reqId) == (Code.Success, "")


def test_two_requests_with_one_id_get_two_answers(client):
    for _ in range(2):
        client.send("/v1/probe/echo", EchoReq(text="twin"), req_id="same")
    assert [client.receive().reqId for _ in range(2)] == ["same", "same"]


def test_keep_alive_succeeds_before_login(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    answer = client.call(KEEP_ALIVE)
    assert (answer.code, answer.data) == (Code.Success, b"")


def test_keep_alive_succeeds_after_login(client):
    answer = client.call(KEEP_ALIVE)
    assert (answer.code, answer.data) == (Code.Success, b"")


def test_a_public_method_can_be_called_before_login(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    response = client.call_ok("/v1/probe/white/echo", EchoReq(text="who am I"), EchoResp)
    assert EchoReq.FromString(response.request).text == "who am I"


def test_a_method_that_is_not_public_gets_auth_error_before_login(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    answer = client.call("/v1/probe/echo", EchoReq(text="let me in"))
    assert (answer.code, answer.method) == (Code.AuthError, "/v1/probe/echo")
    assert common_resp(answer).code == Code.AuthError
    assert common_resp(answer).msg, "AuthError says why"


def test_a_session_without_login_outlives_the_handshake_timeout(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, session={"handshake_timeout": "300ms"}))
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    with pytest.raises(TimeoutError):
        client.receive_frame(timeout=1)
    assert client.set_user_params().code == Code.Success


def test_where_encryption_is_required_a_plain_session_gets_nowhere(
    start_gateway, connect, services, session_key
):
    settings = {"private_key": str(session_key.private_file), "require_encryption": True}
    gateway = start_gateway(gateway_config(services, session=settings))
    client = connect(gateway).wait_connected()
    assert client.set_cxn_params().code == Code.RequestError
    assert client.call("/v1/probe/white/echo", EchoReq()).code != Code.Success
    # The answer has no text for it, so the close reason and the log do.
    client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="u", token="t"))
    why = "setCxnParams was refused: encryption is required, send aesKey"
    assert client.wait_closed() == (3002, why)
    lines = [event for event in map(as_event, gateway.lines) if event.get("reason", "").startswith("encryption")]
    assert [(line["level"], line["method"]) for line in lines] == [
        ("INFO", "/v1/conn/white/setCxnParams"),
        ("DEBUG", "/v1/probe/white/echo"),
    ]
    connect(gateway).log_in(public_key=session_key.public)


def test_later_cxn_params_replace_the_earlier_ones(connect):
    client = connect().wait_connected()
    client.set_cxn_params(deviceModel="old", language="en")
    client.set_cxn_params(deviceModel="new", language="")
    client.set_user_params()
    response = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    identity = EchoReq.FromString(response.request).commonReq
    assert (identity.deviceModel, identity.language) == ("new", "")


def test_a_ping_is_answered_with_its_own_payload(client):
    # The library matches the pong's payload.
    assert client.ws.ping(b"are you there").wait(5)


def test_a_message_in_several_frames_is_read_as_one(client):
    body = encode_request("pieces", "/v1/probe/echo", EchoReq(text="piece by piece").SerializeToString())
    client.ws.send([body[:5], body[5:11], body[11:]])
    answer = client.receive()
    assert (answer.code, answer.reqId) == (Code.Success, "pieces")


def test_an_answer_larger_than_the_clients_own_limit_arrives_whole(client):
    """The message limit is on what clients send."""
    response = client.call_ok("/v1/probe/work", WorkReq(id="large", answer_bytes=900_000), WorkResp)
    assert len(response.padding) == 900_000


def test_compression_that_nobody_agreed_on_is_not_used(connect):
    """The client offers permessage-deflate without parameters; strict clients refuse any back."""
    answered = connect().ws.response.headers.get("Sec-WebSocket-Extensions", "")
    assert answered in ("", "permessage-deflate")


def test_a_client_that_closes_is_answered_with_its_own_code(client):
    client.ws.close(1000, "bye")
    assert client.ws.protocol.close_rcvd.code == 1000


def test_sessions_do_not_see_each_others_answers(connect):
    clients = [connect().log_in(user=f"user-{number}") for number in range(8)]
    for number, client in enumerate(clients):
        for turn in range(10):
            client.send("/v1/probe/echo", EchoReq(text=f"{number}.{turn}"), req_id=f"{number}.{turn}")
    for number, client in enumerate(clients):
        answers = [client.receive() for _ in range(10)]
        assert {answer.reqId for answer in answers} == {f"{number}.{turn}" for turn in range(10)}
        for answer in answers:
            echoed = EchoReq.FromString(EchoResp.FromString(answer.data).request)
            assert (echoed.text, echoed.commonReq.userId) == (answer.reqId, f"user-{number}")
