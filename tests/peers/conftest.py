"""Fixtures that all end-to-end tests share: the binary, keys, services and gateways."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "target" / "peers" / "gen"))

import credentials  # noqa: E402
from configuration import gateway_config  # noqa: E402
from processes import Gateway, Services  # noqa: E402
from session_client import SessionClient  # noqa: E402


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("BRIDGEHEAD", ROOT / "target" / "debug" / "bridgehead")).resolve()
    assert path.is_file(), f"no gateway at {path}: build it, or name it in BRIDGEHEAD"
    return path


@pytest.fixture(scope="session")
def session_key(tmp_path_factory):
    """The gateway's RSA key pair: `.private_file` for it, `.public` for clients."""
    return credentials.RsaKeyPair(tmp_path_factory.mktemp("keys") / "session.pem")


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """The probe services, one process for all tests that do not harm it."""
    running = Services(tmp_path_factory.mktemp("services") / "journal")
    yield running
    running.stop()


@pytest.fixture
def start_services(tmp_path):
    """Starts further probe services, ended with the test."""
    started = []

    def start(*arguments, **options):
        journal = options.pop("journal", tmp_path / "journal")
        started.append(Services(journal, *arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def _end(gateway):
    """Ends a gateway; no test may have made it panic."""
    gateway.kill()
    panics = [line for line in gateway.lines if "panicked at" in line]
    assert not panics, f"the gateway panicked:\n{gateway.tail()}"


@pytest.fixture
def start_gateway(binary, tmp_path):
    """Starts a gateway with a test's own configuration, ended with the test."""
    started = []

    def start(config, *, wait=True, env=None, kind=Gateway):
        directory = tmp_path / f"gateway-{len(started)}"
        directory.mkdir()
        gateway = kind(binary, directory, config, env=env)
        started.append(gateway)
        return gateway.wait_listening() if wait else gateway

    yield start
    for gateway in started:
        _end(gateway)


@pytest.fixture(scope="module")
def share_gateway(binary, tmp_path_factory):
    """Starts a gateway that the tests of one file share."""
    started = []

    def start(config, directory=None):
        directory = directory or tmp_path_factory.mktemp("gateway")
        started.append(Gateway(binary, directory, config))
        return started[-1].wait_listening()

    yield start
    for gateway in started:
        _end(gateway)


@pytest.fixture(scope="module")
def gateway(share_gateway, services, session_key):
    """A gateway with the usual configuration, shared by the tests of one file."""
    private_key = str(session_key.private_file)
    return share_gateway(gateway_config(services, session={"private_key": private_key}))


@pytest.fixture
def connect(request):
    """Opens connections, closed with the test. Takes a gateway or an URL."""
    opened = []

    def open_connection(target=None, **options):
        target = target or request.getfixturevalue("gateway")
        url = target if isinstance(target, str) else target.url
        opened.append(SessionClient(url, **options))
        return opened[-1]

    yield open_connection
    for client in opened:
        client.close()


@pytest.fixture
def client(connect):
    """A client of the shared gateway that has logged in."""
    return connect().log_in()
