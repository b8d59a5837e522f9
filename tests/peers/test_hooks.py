"""Services that are told of sessions as they come and go."""

import collections
import signal
import time

import grpc
import pytest
from configuration import gateway_config
from hook_service import REQUEST, HookService, hooks_config
from probe_pb2 import EchoReq, NewsTaken
from processes import eventually
from session_client import Code


@pytest.fixture
def told():
    """The service that is told."""
    service = HookService().start()
    yield service
    service.stop()


def config(services, told, hooks=None, **sections):
    upstreams = {"hooks": told.upstream, **sections.pop("upstreams", {})}
    return gateway_config(services, hooks=hooks or hooks_config(), upstreams=upstreams, **sections)


@pytest.fixture
def gateway(start_gateway, services, told):
    return start_gateway(config(services, told))


# What is told.


def test_both_hooks_say_who_it_is_and_how_it_ended(start_gateway, connect, services, told):
    request = {
        "rest": {
            "model": "{device_model}",
            "os": "{os_version}",
            "app": "{app_version}",
            "package": "{package_id}",
            "more": "{language}/{network_used}/{user_agent}",
        }
    }
    gateway = start_gateway(config(services, told, hooks_config(request=request)))
    client = connect(gateway, user_agent_header="probe/1").log_in("alice", "t0ken")
    client.ws.close(4321, "had enough")
    (first, came), (second, went) = told.wait_told(2)
    assert (first, second) == ("connected", "disconnected")
    for news in (came, went):
        param = news.connParam
        who = (param.userId, param.token, param.platform, param.deviceId, param.ips)
        assert who == ("alice", "t0ken", "ios", "device-1", "127.0.0.1")
        assert news.rest == {
            "model": "Model 3",
            "os": "17.4",
            "app": "2.0.1",
            "package": "package-1",
            "more": "zh-CN/wifi/probe/1",
        }
    assert len(came.sessionId) == 32 and came.sessionId == went.sessionId
    assert (went.closeCode, went.reason) == (4321, "had enough")


def test_both_hooks_say_when_the_session_began_in_the_form_of_each_field(
    start_gateway, connect, services, told
):
    when = {"at": "{connected_at}", "atMs": "{connected_at_ms}", "atText": "since {connected_at}"}
    hooks = hooks_config(request=when)
    hooks["disconnected"]["request"]["endMs"] = "{disconnected_at_ms}"
    gateway = start_gateway(config(services, told, hooks))
    before = time.time() * 1000
    client = connect(gateway)
    after = time.time() * 1000
    time.sleep(0.05)
    client.log_in("alice").close()
    (_, came), (_, went) = told.wait_told(2)
    assert before - 1 <= came.atMs <= after + 1
    assert came.endMs == 0 and came.atMs + 50 <= went.endMs <= time.time() * 1000 + 1
    assert came.at.ToMilliseconds() == came.atMs
    assert came.atText == f"since {came.at.ToJsonString()}"
    assert (went.at, went.atMs, went.atText) == (came.at, came.atMs, came.atText)


def test_a_session_that_never_logs_in_is_no_news(gateway, connect, told):
    stranger = connect(gateway).wait_connected()
    stranger.set_cxn_params()
    stranger.close()
    connect(gateway).log_in("alice").close()
    told.wait_told(2)
    assert told.events() == ["connected alice", "disconnected alice"]


def test_a_client_that_vanishes_is_told_of_too(gateway, connect, told):
    client = connect(gateway).log_in("alice")
    client.ws.socket.close()
    assert told.wait_told(2)[1][1].closeCode in (1005, 1006)


def test_a_session_that_goes_on_as_another_user_is_two_pieces_of_news(gateway, connect, told):
    client = connect(gateway).log_in("alice", "hers")
    told.wait_told(1)
    assert client.set_user_params("alice", "again").code == Code.Success
    assert client.set_user_params("bob", "his").code == Code.Success
    client.close()
    news = told.wait_told(4)
    assert told.events() == ["connected alice", "disconnected alice", "connected bob", "disconnected bob"]
    assert len({each.sessionId for _, each in news}) == 1
    assert [each.connParam.token for _, each in news] == ["hers", "", "his", "his"]
    assert (news[1][1].closeCode, news[3][1].closeCode) == (0, 1000)


def test_a_device_that_describes_itself_anew_is_two_pieces_of_news(gateway, connect, told):
    client = connect(gateway).log_in("alice")
    client.set_cxn_params(language="de")
    client.set_cxn_params(deviceId="device-2")
    client.close()
    news = told.wait_told(4)
    assert [(event, each.connParam.deviceId) for event, each in news] == [
        ("connected", "device-1"),
        ("disconnected", "device-1"),
        ("connected", "device-2"),
        ("disconnected", "device-2"),
    ]


def test_a_session_that_a_newer_one_ends_is_told_of_with_its_close_code(
    start_gateway, connect, services, told
):
    gateway = start_gateway(config(services, told, session={"one_session_per": "device"}))
    older = connect(gateway).log_in("alice")
    told.wait_told(1)
    connect(gateway).log_in("alice")
    assert older.wait_closed()[0] == 3004
    news = told.wait_told(3)
    ended = [each for event, each in news if event == "disconnected"]
    assert [each.closeCode for each in ended] == [3004]
    assert ended[0].sessionId == news[0][1].sessionId


# In which order, and how stubbornly.


def test_the_order_holds_while_the_service_fails_and_recovers(gateway, connect, told):
    told.behave = lambda event, news, nth: grpc.StatusCode.UNAVAILABLE if nth < 3 else None
    for user in ["alice", "bob", "carol"]:
        connect(gateway).log_in(user).close()
    told.wait_told(6)
    by_user = collections.defaultdict(list)
    for event, news in told.told:
        by_user[news.connParam.userId].append(event)
    assert set(by_user) == {"alice", "bob", "carol"}
    assert all(events == ["connected", "disconnected"] for events in by_user.values())
    assert len(told.refused) == 6 * 3


def test_what_happens_while_the_service_is_down_is_told_when_it_is_back(gateway, connect, told):
    told.stop()
    connect(gateway).log_in("alice").close()
    time.sleep(0.5)
    told.start()
    told.wait_told(2)
    assert told.events() == ["connected alice", "disconnected alice"]


def test_a_session_whose_hook_fails_holds_up_no_other(gateway, connect, told):
    def behave(_event, news, _nth):
        return grpc.StatusCode.INTERNAL if news.connParam.userId == "alice" else None

    told.behave = behave
    connect(gateway).log_in("alice").close()
    connect(gateway).log_in("bob").close()
    told.wait_told(2)
    assert told.events() == ["connected bob", "disconnected bob"]
    assert {event for event, _ in told.refused} == {"connected"}


REFUSES_TEXT = {"reject_when": {"msg": {"not": ""}}}
ACCEPTS_SILENCE = {"accept_when": {"code": 0, "msg": ""}}


@pytest.mark.parametrize(
    ("patterns", "answer", "says"),
    [
        (ACCEPTS_SILENCE, NewsTaken(code=7, msg="not now"), "does not match accept_when"),
        # As services do that refuse with code 0.
        (ACCEPTS_SILENCE, NewsTaken(msg="not now"), "does not match accept_when"),
        (REFUSES_TEXT, NewsTaken(msg="not now"), "matches reject_when"),
        ({"accept_when": {"code": 0}, **REFUSES_TEXT}, NewsTaken(msg="not now"), "matches reject_when"),
    ],
)
def test_an_answer_that_is_a_no_counts_as_a_failure(
    start_gateway, connect, services, told, patterns, answer, says
):
    settings = {**patterns, "reason": "msg"}
    gateway = start_gateway(config(services, told, hooks_config(connected=settings)))
    told.behave = lambda event, news, nth: answer if nth < 2 else None
    connect(gateway).log_in("alice")
    told.wait_told(1)
    assert len(told.refused) == 2
    failed = gateway.wait_event(lambda event: event.get("message") == "hook failed")
    assert failed["hook"] == "connected" and len(failed["session"]) == 32
    assert says in failed["status"] and "not now" in failed["status"]


def test_only_the_one_spelling_of_a_value_is_told(start_gateway, connect, services, told):
    """What a client says of itself becomes a number for the service; `05` would become 5."""
    numbers = hooks_config(connected={"request": {**REQUEST, "closeCode": "{os_version}"}})
    gateway = start_gateway(config(services, told, numbers))

    def log_in(user, version):
        client = connect(gateway).wait_connected()
        client.set_cxn_params(osVersion=version)
        assert client.set_user_params(user, "x").code == Code.Success
        client.close()

    log_in("odd", "05")
    log_in("even", "5")
    told.wait_told(3)
    connected = {news.connParam.userId: news.closeCode for event, news in told.told if event == "connected"}
    assert connected == {"even": 5}


# Sessions never wait.


@pytest.mark.parametrize("trouble", ["hold", "stop"])
def test_a_hook_in_trouble_delays_no_session(gateway, connect, told, trouble):
    getattr(told, trouble)()
    slowest = 0
    for number in range(100):
        began = time.monotonic()
        client = connect(gateway).log_in(f"user-{number}")
        assert client.call("/v1/probe/echo", EchoReq()).code == Code.Success
        client.close()
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 3
    # Calls that are under way are bounded.
    assert told.calls <= 64
    if trouble == "hold":
        told.release()
    else:
        told.start()
    told.wait_told(200, timeout=40)
    assert collections.Counter(event for event, _ in told.told)["disconnected"] >= 100


# The gateway's own end.


def end(gateway):
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.wait_exit(30) == 0
    return time.monotonic() - began


def test_a_gateway_that_stops_tells_of_the_end_of_every_session(gateway, connect, told):
    clients = [connect(gateway).log_in(f"user-{number}") for number in range(5)]
    told.wait_told(5)
    told.behave = lambda event, news, nth: grpc.StatusCode.UNAVAILABLE if nth < 2 else None
    end(gateway)
    ended = [news for event, news in told.told if event == "disconnected"]
    assert sorted(news.connParam.userId for news in ended) == [f"user-{number}" for number in range(5)]
    assert {news.closeCode for news in ended} == {1001}
    assert {client.wait_closed()[0] for client in clients} == {1001}


def test_a_gateway_that_stops_does_not_wait_for_ever(gateway, connect, told):
    told.hold()
    for number in range(3):
        connect(gateway).log_in(f"user-{number}")
    assert 4.5 < end(gateway) < 12
    left = gateway.wait_event(lambda event: "undelivered" in event)
    assert (left["level"], left["undelivered"]) == ("WARN", 6)


# Configuration.


def reload(gateway, config):
    start = len(gateway.lines)
    gateway.write_config(config)
    gateway.wait_event(lambda event: event.get("message") == "configuration reloaded", start=start)


def test_a_reload_changes_the_hooks(start_gateway, connect, services, told):
    gateway = start_gateway(config(services, told))
    client = connect(gateway).log_in("alice")
    told.wait_told(1)
    reload(gateway, config(services, told, hooks_config(request={"rest": {"note": "new"}})))
    client.close()
    assert told.wait_told(2)[1][1].rest == {"note": "new"}
    only_the_end = {"disconnected": hooks_config()["disconnected"]}
    reload(gateway, config(services, told, only_the_end))
    connect(gateway).log_in("bob").close()
    told.wait_told(3)
    assert told.events() == ["connected alice", "disconnected alice", "disconnected bob"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rpc": "probe.Hooks/AfterConnec"}, "did you mean `AfterConnect`"),
        ({"rpc": "probe.Hooks/Watch"}, "streaming"),
        ({"upstream": "hook"}, "did you mean `hooks`"),
        ({"request": {"connParam": {"userid": "{user_id}"}}}, "did you mean `userId`"),
        ({"request": {"sessionId": "{session}"}}, "did you mean `session_id`"),
        ({"request": {**REQUEST, "closeCode": "{close_code}"}}, "`{close_code}` is not a placeholder"),
        ({"accept_when": {"cod": 0}}, "did you mean `code`"),
        ({"reject_when": {"cod": 0}}, "did you mean `code`"),
        ({"reject_when": {}}, "every response is a refusal"),
        ({"reason": "message"}, "has no field `message`"),
    ],
)
def test_a_hook_that_cannot_be_called_is_a_configuration_error(
    start_gateway, services, told, settings, says
):
    gateway = start_gateway(config(services, told, hooks_config(connected=settings)), wait=False)
    assert gateway.wait_exit() == 64
    assert says in gateway.tail()


def test_until_the_service_has_told_its_methods_events_are_dropped_and_said_to_be(
    start_gateway, connect, services, told
):
    told.stop()
    gateway = start_gateway(config(services, told))
    connect(gateway).log_in("alice")
    dropped = gateway.wait_event(lambda event: event.get("message") == "hook events dropped")
    assert (dropped["hook"], dropped["dropped"]) == ("connected", 1)
    assert "not known yet" in dropped["reason"]
    told.start()
    eventually(lambda: (connect(gateway).log_in("bob"), "connected bob" in told.events())[1])


def test_a_service_that_comes_up_without_the_method_keeps_no_other_waiting(
    start_gateway, start_services, connect, services, told
):
    other = start_services()
    other.kill()
    told.stop()
    late = {"address": other.address, "expose": ["probe.Extra"]}
    hooks = hooks_config(connected={"rpc": "probe.Hooks/AfterConnec"})
    gateway = start_gateway(config(services, told, hooks, upstreams={"late": late}))
    # Both were down. Now one is up, and not what the configuration says.
    told.start()
    told_why = gateway.wait_event(lambda event: "hooks.connected.rpc" in event.get("reason", ""))
    assert "did you mean `AfterConnect`" in told_why["reason"]
    start_services(listen=f"127.0.0.1:{other.port}")
    client = connect(gateway).log_in("alice")
    eventually(lambda: client.call("/probe.Extra/First").code == Code.Success)
    client.close()
    # What is right about the other hook works.
    told.wait_told(1)
    assert told.events() == ["disconnected alice"]
