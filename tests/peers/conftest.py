"""Fixtures that all end-to-end tests share: the binary, keys, services and gateways."""

import itertools
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "target" / "peers" / "gen"))

import credentials  # noqa: E402
from admin_client import ADMIN  # noqa: E402
from configuration import PUSH, gateway_config  # noqa: E402
from processes import Gateway, Nats, Services  # noqa: E402
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


@pytest.fixture
def run_check(binary, tmp_path):
    """Runs `bridgehead check` in the test's folder."""

    def run(config, *arguments):
        (tmp_path / "routes.yaml").write_text(json.dumps(config, indent=2))
        command = [binary, "check", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

    return run


@pytest.fixture
def with_admin(start_gateway):
    """Starts a gateway that can be asked how it is."""

    def start(config, **options):
        gateway = start_gateway({**config, "admin": ADMIN}, **options)
        event = gateway.wait_event(lambda event: event.get("message") == "admin listening")
        gateway.admin_address = event["address"]
        return gateway

    return start


@pytest.fixture(scope="module")
def share_gateway(binary, tmp_path_factory):
    """Starts a gateway that the tests of one file share."""
    started = []

    def start(config, directory=None, env=None):
        directory = directory or tmp_path_factory.mktemp("gateway")
        started.append(Gateway(binary, directory, config, env=env))
        return started[-1].wait_listening()

    yield start
    for gateway in started:
        _end(gateway)


@pytest.fixture(scope="session")
def nats(tmp_path_factory):
    """A NATS server that is there for all tests that do not harm it. It takes pushes of any size."""
    config = tmp_path_factory.mktemp("nats") / "nats.conf"
    config.write_text("max_payload: 8MB\n")
    running = Nats("-c", config)
    yield running
    running.stop()


def pytest_generate_tests(metafunc):
    """What backends are promised holds in a cluster as well: clients of one gateway, backends of
    another."""
    if metafunc.module.__name__.startswith("test_push_") and "backend" in metafunc.fixturenames:
        metafunc.parametrize("broker", ["alone", "cluster"], scope="module", indirect=True)


@pytest.fixture(scope="module")
def broker(request):
    """How the shared gateway reaches sessions: those of its own, or of a cluster."""
    return getattr(request, "param", "alone")


@pytest.fixture(scope="module")
def gateway(request, share_gateway, services, session_key, broker):
    """A gateway with the usual configuration, shared by the tests of one file.

    In a cluster, backends talk to another one by default.
    """
    session = {"private_key": str(session_key.private_file)}
    config = gateway_config(services, session=session, push=PUSH)
    if broker == "alone":
        return share_gateway(config)
    name = f"test-{secrets.token_hex(4)}"
    config["cluster"] = {"nats": request.getfixturevalue("nats").url, "name": name}
    gateway, other = (share_gateway(config, env={"HOSTNAME": node}) for node in ("here", "there"))
    gateway.push_address = other.push_address
    for one in (gateway, other):
        one.wait_event(lambda event: event.get("message") == "a gateway is in the cluster")
    return gateway


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
def backend(open_backend, gateway):
    """A backend of the shared gateway."""
    return open_backend(gateway)


_users = itertools.count(1)


@pytest.fixture
def user():
    """A user that no other test has."""
    return f"u{next(_users)}"


@pytest.fixture
def client(connect):
    """A client of the shared gateway that has logged in."""
    return connect().log_in()
