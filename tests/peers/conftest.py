"""Fixtures that all end-to-end tests share: the binary, keys, services and gateways."""

import itertools
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "target" / "peers" / "gen"))

import credentials  # noqa: E402
from configuration import PUSH, gateway_config  # noqa: E402
from processes import Gateway, Services  # noqa: E402
from push_client import PushClient  # noqa: E402
from raw_client import RawClient  # noqa: E402
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
    session = {"private_key": private_key}
    return share_gateway(gateway_config(services, session=session, push=PUSH))


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
def connect_raw(request):
    """The same for clients that control every byte; with a user they log in."""
    opened = []

    def open_connection(target=None, *, user=None, **options):
        target = target or request.getfixturevalue("gateway")
        opened.append(RawClient(target.url, **options))
        return opened[-1].log_in(user) if user else opened[-1]

    yield open_connection
    for raw in opened:
        raw.sock.close()


@pytest.fixture
def open_backend(request):
    """Opens channels to the Push API, closed with the test. Takes a gateway or an address."""
    opened = []

    def open_channel(target=None, **options):
        target = target or request.getfixturevalue("gateway")
        address = target if isinstance(target, str) else target.push_address
        opened.append(PushClient(address, **options))
        return opened[-1]

    yield open_channel
    for channel in opened:
        channel.close()


@pytest.fixture
def backend(open_backend):
    """A backend of the shared gateway."""
    return open_backend()


_users = itertools.count(1)


@pytest.fixture
def user():
    """A user that no other test has."""
    return f"u{next(_users)}"


@pytest.fixture
def client(connect):
    """A client of the shared gateway that has logged in."""
    return connect().log_in()
