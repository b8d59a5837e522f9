"""The caller's identity in request messages: the gateway's own, whatever a client put there."""

import pytest
from configuration import gateway_config
from probe_pb2 import (
    CommonReq,
    EchoBareReq,
    EchoBatchReq,
    EchoNumbersReq,
    EchoReq,
    EchoResp,
    EchoSnakeReq,
    NumberIdentity,
)
from session_client import Code, common_resp

# Field 3 of EchoReq, whatever its content.
IDENTITY_TAG = b"\x1a"


@pytest.fixture
def caller(connect):
    client = connect(user_agent_header="probe-client/9")
    return client.log_in(user="alice", token="alice's token")


def identity_of(client, message=b"", method="/v1/probe/echo"):
    response = client.call_ok(method, message, EchoResp)
    return EchoReq.FromString(response.request).commonReq


def test_every_member_is_filled_by_name(caller):
    req_id = caller.send("/v1/probe/echo", EchoReq(text="who am I"))
    response = EchoResp.FromString(caller.answer_to(req_id).data)
    identity = EchoReq.FromString(response.request).commonReq
    assert identity.sessionId
    assert identity == CommonReq(
        userId="alice",
        token="alice's token",
        deviceModel="Model 3",
        deviceId="device-1",
        osVersion="17.4",
        platform="ios",
        packageId="package-1",
        appVersion="2.0.1",
        language="zh-CN",
        networkUsed="wifi",
        ip="127.0.0.1",
        userAgent="probe-client/9",
        sessionId=identity.sessionId,
        reqId=req_id,
    )


def test_members_in_snake_case_are_filled_and_others_that_are_no_texts_are_not(caller):
    req_id = caller.send("/v1/probe/echoSnake", EchoSnakeReq(text="hi"))
    response = EchoResp.FromString(caller.answer_to(req_id).data)
    identity = EchoSnakeReq.FromString(response.request).commonReq
    assert (identity.user_id, identity.device_id) == ("alice", "device-1")
    assert (identity.app_version, identity.user_agent) == ("2.0.1", "probe-client/9")
    assert identity.req_id == req_id
    assert identity.session_id
    assert (identity.token, list(identity.platform)) == (0, [])


def test_a_session_keeps_its_id_and_no_two_share_one(connect):
    first, second = connect().log_in(), connect().log_in()
    ids = [identity_of(client).sessionId for client in (first, first, second)]
    assert ids[0] == ids[1] != ids[2]


def test_before_login_the_device_is_known_and_the_user_is_not(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    identity = identity_of(client, method="/v1/probe/white/echo")
    assert (identity.deviceId, identity.platform) == ("device-1", "ios")
    assert (identity.userId, identity.token) == ("", "")


FORGED = CommonReq(userId="root", token="forged", ip="10.0.0.1", data=b"\xff", remark="forged")


def test_what_a_client_puts_there_is_dropped(caller):
    identity = identity_of(caller, EchoReq(text="hi", commonReq=FORGED))
    assert (identity.userId, identity.token, identity.ip) == ("alice", "alice's token", "127.0.0.1")
    assert (identity.data, identity.remark) == (b"", "")


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda data, forged: forged + data, id="in front"),
        pytest.param(lambda data, forged: data + forged, id="behind"),
        pytest.param(lambda data, forged: forged + data + forged + forged, id="many times"),
    ],
)
def test_it_is_dropped_wherever_it_stands(caller, forge):
    """Protobuf merges repeated occurrences of a message field: one left over would count."""
    forged = EchoReq(commonReq=FORGED).SerializeToString()
    text = EchoReq(text="hi").SerializeToString()
    identity = identity_of(caller, forge(text, forged))
    assert (identity.userId, identity.remark) == ("alice", "")


def test_it_is_dropped_behind_an_overlong_tag_too(caller):
    forged = EchoReq(commonReq=FORGED).SerializeToString()
    assert forged[:1] == IDENTITY_TAG
    identity = identity_of(caller, b"\x9a\x80\x00" + forged[1:])
    assert (identity.userId, identity.remark) == ("alice", "")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            EchoReq(
                text="连接成功",
                nested=EchoReq.Nested(commonReq=FORGED, note="mine"),
                numbers=[-1, 0, 1 << 60],
                labels={"a": "1"},
                blob=bytes(range(256)),
            ).SerializeToString(),
            id="every kind of field",
        ),
        pytest.param(b"\xf8\x7f\x05\xfa\x7f\x03abc\xf9\x7f12345678\xfd\x7f1234", id="unknown fields"),
        pytest.param(b"\xfb\x7f\x08\x01\xfc\x7f", id="an unknown group"),
        pytest.param(b"\x0a\x81\x00a", id="an overlong length"),
        pytest.param(b"\xa2\x06\x01b\x0a\x01a\x0a\x01c", id="fields out of order and repeated"),
        pytest.param(b"\x28\x01\x2a\x02\x03\x05", id="numbers unpacked and packed"),
    ],
)
def test_all_other_bytes_reach_the_service_as_they_were(caller, data):
    """The identity is appended; what a client sent stays in front, byte for byte."""
    answer = caller.call("/v1/probe/echoBare", data)
    if answer.code == Code.Success:
        assert EchoResp.FromString(answer.data).request == data
    answer = caller.call("/v1/probe/echo", data)
    response = EchoResp.FromString(answer.data).request
    assert response[: len(data)] == data
    appended = response[len(data) :]
    assert appended[:1] == IDENTITY_TAG
    only_identity = EchoReq.FromString(appended)
    assert only_identity.commonReq.userId == "alice"
    only_identity.ClearField("commonReq")
    assert only_identity == EchoReq()


def test_a_wire_type_that_the_descriptor_does_not_have_is_not_the_message(caller):
    """Decoders disagree about such a field, and some read more behind it than others: a place
    to hide an identity in."""
    answer = caller.call("/v1/probe/echo", b"\x08\x01")
    assert answer.code == Code.RequestError
    assert common_resp(answer).code == Code.RequestError


def test_a_message_of_the_same_name_deeper_inside_is_the_clients_own(caller):
    message = EchoReq(nested=EchoReq.Nested(commonReq=FORGED))
    response = caller.call_ok("/v1/probe/echo", message, EchoResp)
    assert EchoReq.FromString(response.request).nested.commonReq == FORGED


def test_a_request_without_an_identity_field_is_passed_on_untouched(caller):
    data = EchoBareReq(text="bare").SerializeToString() + b"\x1a\x03abc"
    assert caller.call_ok("/v1/probe/echoBare", data, EchoResp).request == data


def test_a_request_without_data_still_carries_the_identity(caller):
    assert identity_of(caller, b"").userId == "alice"


def test_the_field_that_is_filled_is_configured(start_gateway, connect, services):
    config = gateway_config(services, identity={"request_field": "caller"})
    client = connect(start_gateway(config)).log_in()
    response = client.call_ok("/v1/probe/echo", EchoReq(commonReq=FORGED), EchoResp)
    assert EchoReq.FromString(response.request) == EchoReq(commonReq=FORGED)


@pytest.mark.parametrize("user", ["用户", "a\r\nx-user-id: root", "u" * 250, "naïve"])
def test_any_user_id_is_carried_safely(connect, user):
    """In the message as it is; in metadata, never as a header of its own."""
    client = connect().log_in(user=user)
    response = client.call_ok("/v1/probe/echo", b"", EchoResp)
    assert EchoReq.FromString(response.request).commonReq.userId == user
    assert b"root" not in [entry.value for entry in response.metadata]


# Members that are no texts.

NUMBERS = {"routes": {"/v1/numbers": "probe.Probe/EchoNumbers"}}


def test_members_that_are_numbers_or_wrapped_are_filled_where_the_text_is_one(
    start_gateway, connect, services
):
    gateway = start_gateway(gateway_config(services, upstream=NUMBERS))
    client = connect(gateway).wait_connected()
    client.set_cxn_params(
        deviceId="-7", osVersion="-17", packageId="4294967295", appVersion="0", deviceModel="-1", networkUsed="5"
    )
    assert client.set_user_params("9007199254740993", "0007").code == Code.Success
    req_id = client.send("/v1/numbers", EchoNumbersReq(text="hi", commonReq=NumberIdentity(userId=1, language=True)))
    response = EchoResp.FromString(client.answer_to(req_id).data)
    identity = EchoNumbersReq.FromString(response.request).commonReq
    expected = NumberIdentity(userId=9007199254740993, osVersion=-17, packageId=4294967295, appVersion=0, deviceModel=-1)
    expected.token.value = "0007"
    expected.deviceId.value = -7
    expected.networkUsed.value = 5
    if req_id == str(identity.reqId):
        expected.reqId = identity.reqId
    assert identity == expected


@pytest.mark.parametrize("user", ["05", "+5", "-0", "1e3", " 5", "0x5", "zoe", "9223372036854775808"])
def test_what_is_not_the_one_spelling_of_a_number_is_left_out(start_gateway, connect, services, user):
    """No two users of the gateway are one to the service."""
    client = connect(start_gateway(gateway_config(services, upstream=NUMBERS))).log_in(user=user)
    response = client.call_ok("/v1/numbers", EchoNumbersReq(), EchoResp)
    assert EchoNumbersReq.FromString(response.request).commonReq.userId == 0


# Below the top level.

BATCH = {"routes": {"/v1/batch": "probe.Probe/EchoBatch", "/v1/echo": "probe.Probe/Echo"}}


def batch_config(services, depth=None):
    identity = {"identity": {"depth": depth}} if depth else {}
    return gateway_config(services, upstream=BATCH, **identity)


def forged_batch():
    item = EchoReq(text="mine", commonReq=FORGED, nested=EchoReq.Nested(commonReq=FORGED, note="x"))
    batch = EchoBatchReq(items=[item, EchoReq(), item], byName={"a": item}, one=item)
    batch.more.items.append(item)
    return batch


def items_of(batch):
    yield from batch.items
    yield from batch.byName.values()
    if batch.HasField("one"):
        yield batch.one
    if batch.HasField("more"):
        yield from items_of(batch.more)


def test_the_messages_of_a_batch_have_the_identity_where_it_is_nested(start_gateway, connect, services):
    client = connect(start_gateway(batch_config(services, "nested"))).log_in(user="alice", token="hers")
    response = client.call_ok("/v1/batch", forged_batch(), EchoResp)
    got = EchoBatchReq.FromString(response.request)
    items = list(items_of(got))
    assert len(items) == 6 and [item.text for item in items].count("mine") == 5
    identities = [item.commonReq for item in items]
    identities += [item.nested.commonReq for item in items if item.HasField("nested")]
    assert len(identities) == 11
    assert {(each.userId, each.token, each.remark, each.data) for each in identities} == {("alice", "hers", "", b"")}
    assert len({each.SerializeToString() for each in identities}) == 1
    # The top level has it as ever.
    assert identity_of(client, EchoReq(commonReq=FORGED), "/v1/echo").userId == "alice"


def test_the_messages_of_a_batch_are_the_clients_own_where_it_is_not(start_gateway, connect, services):
    client = connect(start_gateway(batch_config(services))).log_in(user="alice")
    data = forged_batch().SerializeToString()
    assert client.call_ok("/v1/batch", data, EchoResp).request == data


def test_a_batch_cannot_grow_without_end(start_gateway, connect, services):
    """Two bytes of an empty message become hundreds."""
    client = connect(start_gateway(batch_config(services, "nested"))).log_in(user="alice", token="t" * 4000)
    answer = client.call("/v1/batch", b"\x0a\x00" * 10_000)
    assert answer.code == Code.RequestError
    assert client.call("/v1/batch", b"\x0a\x00" * 100).code == Code.Success
