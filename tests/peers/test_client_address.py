"""Which address is the client's, as load balancers and clouds write it in headers.

The "proxy" is the client's own address: 127.0.0.2 and 10.0.0.0/8 are trusted.
"""

import pytest
from configuration import PUSH, gateway_config
from probe_pb2 import EchoReq, EchoResp

PROXY, STRANGER = "127.0.0.2", "127.0.0.3"
TRUSTED = ["127.0.0.2/32", "10.0.0.0/8", "::ffff:172.16.0.0/108"]
CLIENT, FORGED = "203.0.113.7", "198.51.100.66"


@pytest.fixture(scope="module")
def gateways(share_gateway, services):
    """A gateway for each value of `client_address`."""
    started = {}

    def one(stands_in):
        if stands_in not in started:
            edge = {"trusted_proxies": TRUSTED}
            if stands_in:
                edge["client_address"] = stands_in
            started[stands_in] = share_gateway(gateway_config(services, edge=edge, push=PUSH))
        return started[stands_in]

    return one


@pytest.fixture
def seen(gateways, connect, open_backend, user):
    """What the service and backends see of a client that comes with these headers."""

    def seen(stands_in, headers, source=PROXY):
        gateway = gateways(stands_in)
        client = connect(gateway, source=source, headers=headers).log_in(user)
        response = client.call_ok("/v1/probe/echo", EchoReq(text="hi"), EchoResp)
        metadata = {entry.key: entry.value.decode() for entry in response.metadata}
        ip = EchoReq.FromString(response.request).commonReq.ip
        assert metadata["x-forwarded-for"] == ip
        *_, listed = open_backend(gateway).sessions(user_ids=[user])
        assert listed.remote_ip == ip
        client.close()
        return ip

    return seen


@pytest.mark.parametrize(
    ("value", "ip"),
    [
        ("203.0.113.7:4711", CLIENT),
        ("203.0.113.7:4711, 10.0.0.9:80", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ('"[2001:db8::7]:4711"', "2001:db8::7"),
        ('"203.0.113.7"', CLIENT),
        ("2001:db8:0:0:0:0:0:7:4711", "2001:db8::7"),
        ("2001:db8::7:50123", "2001:db8::7"),
        # An address as it is.
        ("2001:db8::7:443", "2001:db8::7:443"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::ffff:203.0.113.7", CLIENT),
        ("203.0.113.7, ::ffff:172.16.1.1", CLIENT),
        ("203.0.113.7,", CLIENT),
        (",,203.0.113.7 , \t,", CLIENT),
        ("198.51.100.66, unknown", PROXY),
        ("198.51.100.66, 203.0.113.7:99999", PROXY),
        ("198.51.100.66, unix:", PROXY),
        ("198.51.100.66, _hidden, 10.0.0.9", "10.0.0.9"),
        ("198.51.100.66 10.0.0.9", PROXY),
        ('", 203.0.113.7', CLIENT),
    ],
)
def test_x_forwarded_for_is_read_as_it_is_written(seen, value, ip):
    assert seen(None, {"X-Forwarded-For": value}) == ip


@pytest.mark.parametrize(
    ("value", "ip"),
    [
        ("for=203.0.113.7", CLIENT),
        ("For=203.0.113.7;proto=https;by=10.0.0.1", CLIENT),
        ('by=_x; for="203.0.113.7:4711"', CLIENT),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for="[2001:db8::7]:_port", for=10.0.0.9', "2001:db8::7"),
        ("for=198.51.100.66, for=203.0.113.7", CLIENT),
        ('for=203.0.113.7;host="a,b", for=10.0.0.9,', CLIENT),
        ("for=198.51.100.66, for=unknown", PROXY),
        ("for=198.51.100.66, for=_hidden, for=10.0.0.9", "10.0.0.9"),
        ("for=198.51.100.66, proto=https", PROXY),
        ('for=198.51.100.66;x=", for=203.0.113.7', CLIENT),
        ("203.0.113.7", PROXY),
    ],
)
def test_forwarded_is_read_by_rfc_7239(seen, value, ip):
    assert seen("forwarded", {"Forwarded": value}) == ip


@pytest.mark.parametrize("name", ["CF-Connecting-IP", "true-client-ip", "X-Real-IP"])
def test_a_header_may_have_the_address_alone(seen, name):
    others = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"}
    assert seen(name, {name: CLIENT, **others}) == CLIENT
    assert seen(name, {name: "2001:db8::7", **others}) == "2001:db8::7"
    assert seen(name, others) == PROXY
    assert seen(name, {name: CLIENT}, source=STRANGER) == STRANGER


@pytest.mark.parametrize(
    "headers",
    [
        [("CF-Connecting-IP", FORGED), ("CF-Connecting-IP", CLIENT)],
        [("CF-Connecting-IP", CLIENT), ("CF-Connecting-IP", CLIENT)],
        [("CF-Connecting-IP", f"{FORGED}, {CLIENT}")],
        [("CF-Connecting-IP", "unknown")],
        [("CF-Connecting-IP", "")],
    ],
)
def test_of_several_addresses_none_is_believed(seen, headers):
    assert seen("CF-Connecting-IP", headers) == PROXY


@pytest.mark.parametrize(
    ("stands_in", "header"),
    [
        (None, ("Forwarded", f"for={FORGED}")),
        (None, ("CF-Connecting-IP", FORGED)),
        (None, ("X-Real-IP", FORGED)),
        ("forwarded", ("X-Forwarded-For", FORGED)),
        ("CF-Connecting-IP", ("True-Client-IP", FORGED)),
        ("none", ("X-Forwarded-For", FORGED)),
        ("none", ("Forwarded", f"for={FORGED}")),
    ],
)
def test_no_other_header_is_believed(seen, stands_in, header):
    assert seen(stands_in, [header]) == PROXY


@pytest.mark.parametrize("stands_in", [None, "forwarded", "none"])
def test_strangers_are_who_they_are(seen, stands_in):
    forged = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"}
    assert seen(stands_in, forged, source=STRANGER) == STRANGER
