"""The ways to an upstream: its address, TLS and descriptors."""

import credentials
import pytest
from configuration import gateway_config
from conftest import ROOT
from probe_pb2 import EchoBareReq, EchoResp
from session_client import Code

METHOD = "/v1/probe/echoBare"
DESCRIPTORS = str(ROOT / "target" / "peers" / "gen" / "probe.binpb")


@pytest.fixture
def authority(tmp_path):
    return credentials.Authority(tmp_path / "authority")


def instance_of(client):
    return client.call_ok(METHOD, EchoBareReq(), EchoResp).instance


@pytest.fixture
def log_in_through(start_gateway, connect, services):
    """A client of a gateway whose probe upstream has these settings."""

    def log_in(**upstream):
        return connect(start_gateway(gateway_config(services, upstream=upstream))).log_in()

    return log_in


def test_a_unix_socket(log_in_through, start_services, tmp_path):
    start_services(listen=f"unix:{tmp_path}/probe.sock", instance="unix")
    assert instance_of(log_in_through(address=f"unix://{tmp_path}/probe.sock")) == "unix"


def test_a_name_that_is_looked_up(log_in_through, services):
    assert instance_of(log_in_through(address=f"dns:///localhost:{services.port}")) == "one"


def test_a_host_name_in_a_plain_address(log_in_through, services):
    assert instance_of(log_in_through(address=f"http://localhost:{services.port}")) == "one"


def test_a_list_spreads_the_calls(log_in_through, start_services, services):
    other = start_services(instance="two")
    client = log_in_through(address=[services.address, other.address])
    assert {instance_of(client) for _ in range(100)} == {"one", "two"}


def test_a_list_goes_on_when_one_of_it_dies(log_in_through, start_services, services):
    other = start_services(instance="two")
    client = log_in_through(address=[services.address, other.address])
    assert {instance_of(client) for _ in range(100)} == {"one", "two"}
    other.kill()
    # Nothing is under way, so no call can be lost: each goes to the one that lives.
    codes = [client.call(METHOD, EchoBareReq()).code for _ in range(100)]
    assert codes.count(Code.Success) >= 99, codes
    assert codes[-50:] == [Code.Success] * 50


def test_a_list_with_one_that_was_never_there_works(log_in_through, services, start_services):
    gone = start_services(instance="gone")
    gone.kill()
    client = log_in_through(address=[gone.address, services.address])
    codes = [client.call(METHOD, EchoBareReq()).code for _ in range(50)]
    assert codes == [Code.Success] * 50


def test_tls_with_an_authority_of_ones_own(log_in_through, start_services, authority):
    cert, key, _ = authority.issue("server")
    secured = start_services("--tls-cert", cert, "--tls-key", key, instance="tls")
    client = log_in_through(
        address=f"https://127.0.0.1:{secured.port}", tls={"ca": str(authority.file)}
    )
    assert instance_of(client) == "tls"


def test_a_certificate_under_another_name(log_in_through, start_services, authority):
    cert, key, _ = authority.issue("server", hosts=["msg.internal"])
    secured = start_services("--tls-cert", cert, "--tls-key", key, instance="tls")
    address = f"https://127.0.0.1:{secured.port}"
    tls = {"ca": str(authority.file), "domain": "msg.internal"}
    assert instance_of(log_in_through(address=address, tls=tls)) == "tls"


def test_mutual_tls(log_in_through, start_services, authority):
    cert, key, _ = authority.issue("server")
    own_cert, own_key, _ = authority.issue("gateway")
    ca = str(authority.file)
    secured = start_services(
        "--tls-cert", cert, "--tls-key", key, "--client-ca", ca, instance="mutual"
    )
    address = f"https://127.0.0.1:{secured.port}"
    tls = {"ca": ca, "cert": str(own_cert), "key": str(own_key)}
    assert instance_of(log_in_through(address=address, tls=tls)) == "mutual"


@pytest.mark.parametrize("trusted", ["another authority", "another name"])
def test_a_server_that_cannot_prove_itself_gets_no_call(log_in_through, start_services, authority, tmp_path, trusted):
    cert, key, _ = authority.issue("server")
    secured = start_services("--tls-cert", cert, "--tls-key", key)
    stranger = credentials.Authority(tmp_path / "stranger", "stranger")
    if trusted == "another authority":
        tls = {"ca": str(stranger.file)}
    else:
        tls = {"ca": str(authority.file), "domain": "bank.example.com"}
    client = log_in_through(
        address=f"https://127.0.0.1:{secured.port}", tls=tls, descriptors=[DESCRIPTORS], timeout="1s"
    )
    assert client.call(METHOD, EchoBareReq()).code == Code.RetryError


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_in_either_version(log_in_through, start_services, version):
    reflecting = start_services("--reflection", version, instance=version)
    assert instance_of(log_in_through(address=reflecting.address)) == version


def test_descriptors_from_a_file(log_in_through, start_services):
    mute = start_services("--reflection", "none", instance="mute")
    assert instance_of(log_in_through(address=mute.address, descriptors=[DESCRIPTORS])) == "mute"


def test_a_whole_service_can_be_exposed(log_in_through):
    client = log_in_through(expose=["probe.Extra"])
    for name in ("First", "Second"):
        response = client.call_ok(f"/probe.Extra/{name}", EchoBareReq(text=name), EchoResp)
        assert response.rpc == f"probe.Extra/{name}"
    assert client.call("/probe.Extra/Stream", EchoBareReq()).code == Code.RequestError
    assert client.call("/probe.Probe/Echo", EchoBareReq()).code == Code.RequestError
