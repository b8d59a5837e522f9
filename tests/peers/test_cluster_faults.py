"""What can go wrong in a cluster: nothing is told that is not so, and all heals."""

import contextlib
import re
import signal
import socket
import threading
import time
from collections import Counter

import grpc
import pytest
from admin_client import readiness
from cluster import Line, cluster_config, count_of, start_cluster, wait_known, wait_log
from credentials import Authority, write_private_key
from nats_jwt import Operator
from probe_pb2 import EchoReq, EchoResp
from processes import Nats, eventually
from push_client import ACKNOWLEDGED, WRITTEN, Kind, Outcome, outcomes, status_of

LONG = 60


@pytest.fixture
def own_nats():
    """Starts NATS servers, ended with the test."""
    started = []

    def start(*arguments, **options):
        started.append(Nats(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def push():
    """Starts backends that push all the time, stopped with the test."""
    started = []

    def start(*arguments, **options):
        started.append(Pusher(*arguments, **options))
        return started[-1]

    yield start
    for pusher in started:
        pusher.stop()


@pytest.fixture
def lines():
    """Lines between gateways and NATS, ended with the test."""
    opened = []

    def open_line(port):
        opened.append(Line(port))
        return opened[-1]

    yield open_line
    for line in opened:
        line.close()


class Pusher(threading.Thread):
    """A backend that pushes to users again and again, and keeps every receipt."""

    def __init__(self, backend, users, deadline=3, name=""):
        super().__init__(daemon=True)
        self.backend, self.users, self.deadline, self.prefix = backend, users, deadline, name
        # (push, user or "", outcome) of every receipt; pushes that were sent.
        self.receipts, self.sent, self.failures = [], [], []
        self._stopping = threading.Event()
        self.start()

    def run(self):
        number = 0
        while not self._stopping.is_set():
            name = f"{self.prefix}{number}"
            number += 1
            self.sent.append(name)
            try:
                told = self.backend.push(
                    push_id=name,
                    user_ids=self.users,
                    data=name.encode(),
                    confirm=ACKNOWLEDGED,
                    deadline=self.deadline,
                )
            except grpc.RpcError as error:
                self.failures.append(error)
                continue
            for it in told:
                user = it.user_id or it.session.user_id
                self.receipts.append((name, user, Outcome.Name(it.outcome)))

    def stop(self):
        self._stopping.set()
        self.join(30)
        assert not self.is_alive()
        return self

    def count(self, user):
        return Counter(outcome for _, whose, outcome in list(self.receipts) if whose == user)

    def wait_outcome(self, user, outcome, more=3, timeout=20):
        """Waits for so many more receipts of that outcome."""
        goal = self.count(user)[outcome] + more
        eventually(lambda: self.count(user)[outcome] >= goal, timeout)


class Reader(threading.Thread):
    """Everything that was pushed to a client, until its connection ends."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.pushed = client, []
        self.start()

    def run(self):
        try:
            while True:
                self.pushed.append(self.client.receive_push(LONG).data.decode())
        except Exception:  # noqa: BLE001: the end, whichever
            return


def believe(pusher, readers):
    """Every receipt is true: what was acknowledged has arrived, once. Each push has one receipt of
    each user; a second one says at most that not all is known."""
    told = {}
    for name, user, outcome in pusher.receipts:
        told.setdefault((name, user), []).append(outcome)
    for name in pusher.sent[:-1]:
        for user in pusher.users:
            outcomes_of = sorted(told[name, user])
            assert len(outcomes_of) == 1 or outcomes_of == ["ACKNOWLEDGED", "EXPIRED"], (name, user)
    for name, user, outcome in pusher.receipts:
        arrived = sum(reader.pushed.count(name) for reader in readers[user])
        if outcome == "ACKNOWLEDGED":
            assert arrived == 1, (name, user, arrived)
        if outcome == "OFFLINE":
            assert arrived == 0, (name, user, arrived)


def test_a_gateway_that_is_killed_takes_only_its_own_sessions_along(
    start_gateway, services, nats, connect, open_backend, push, user
):
    nodes = start_cluster(start_gateway, services, nats.url)
    users = [f"{user}-{number}" for number in range(3)]
    readers = {
        name: [Reader(connect(node).log_in(name))] for name, node in zip(users, nodes, strict=True)
    }
    pusher = push(open_backend(nodes[0]), users)
    for name in users:
        pusher.wait_outcome(name, "ACKNOWLEDGED")
    nodes[2].kill()
    # In between, what was on its way there is not known.
    pusher.wait_outcome(users[2], "OFFLINE")
    for name in users[:2]:
        pusher.wait_outcome(name, "ACKNOWLEDGED")
    # The client comes back elsewhere.
    readers[users[2]].append(Reader(connect(nodes[1]).log_in(users[2])))
    pusher.wait_outcome(users[2], "ACKNOWLEDGED")
    pusher.stop()
    assert not pusher.failures
    believe(pusher, readers)
    assert set(pusher.count(users[2])) <= {"ACKNOWLEDGED", "EXPIRED", "OFFLINE"}
    for name in users[:2]:
        assert set(pusher.count(name)) == {"ACKNOWLEDGED"}
    wait_log(nodes[0], "a gateway of the cluster is lost")
    # Asked for everybody, the others do not wait for it any more.
    began = time.monotonic()
    assert Counter(outcomes(open_backend(nodes[0]).push(everyone=True, deadline=LONG))) == {"WRITTEN": 3}
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("has_answered", [False, True])
def test_a_push_that_a_killed_gateway_has_not_confirmed_is_not_confirmed(
    start_gateway, services, nats, connect_raw, open_backend, user, has_answered
):
    """The holder dies between the push and its receipt: the client has not answered the ping."""
    nodes = start_cluster(start_gateway, services, nats.url, 2)
    raw = connect_raw(nodes[1], user=user)
    call = open_backend(nodes[0]).begin_push(
        user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG
    )
    assert raw.next_push().data == b"x"
    if has_answered:
        # It has said which session it has, and waits for the client.
        time.sleep(0.1)
    nodes[1].kill()
    began = time.monotonic()
    [receipt] = call
    # Not at the deadline, but when the gateway counts as lost.
    assert time.monotonic() - began < 10
    assert Outcome.Name(receipt.outcome) == "EXPIRED"
    told = (receipt.session.user_id or receipt.user_id, receipt.session.node)
    assert told in [(user, "node-1"), (user, "")]
    assert not has_answered or receipt.session.node


def test_without_nats_every_gateway_goes_on_by_itself(
    start_gateway, services, own_nats, connect, open_backend, push, user
):
    server = own_nats()
    nodes = start_cluster(start_gateway, services, server.url, 2)
    here, there = f"{user}-here", f"{user}-there"
    clients = {here: connect(nodes[0]).log_in(here), there: connect(nodes[1]).log_in(there)}
    readers = {name: [Reader(client)] for name, client in clients.items()}
    pusher = push(open_backend(nodes[0]), [here, there])
    pusher.wait_outcome(there, "ACKNOWLEDGED")
    marks = [len(node.lines) for node in nodes]
    server.kill()
    for node, mark in zip(nodes, marks, strict=True):
        wait_log(node, "the connection to NATS is lost", mark)
    pusher.wait_outcome(there, "EXPIRED")
    pusher.wait_outcome(here, "ACKNOWLEDGED")
    backend = open_backend(nodes[0])
    # At once, not at the deadline.
    began = time.monotonic()
    receipts = backend.push(user_ids=[there], deadline=LONG)
    assert [(it.user_id, *outcomes([it])) for it in receipts] == [(there, "EXPIRED")]
    told = {it.session.node or it.session.user_id: Outcome.Name(it.outcome) for it in backend.push(everyone=True)}
    assert told == {"node-0": "WRITTEN", "node-1": "EXPIRED"}
    assert time.monotonic() - began < 2
    # What cannot be complete says so.
    code, text = status_of(lambda: iter(backend.sessions()))
    assert code == grpc.StatusCode.UNAVAILABLE and "gateway node-1" in text
    code, text = status_of(lambda: backend.kick(user_ids=["nobody"]))
    assert code == grpc.StatusCode.UNAVAILABLE and "user nobody" in text
    code, _ = status_of(lambda: backend.watch())
    # Sessions come, log in and call.
    with connect(nodes[0]) as late:
        late.log_in(f"{user}-late")
        late.call_ok("/v1/probe/echo", EchoReq(text="x"), EchoResp)
        # The user may have others elsewhere, for all that is known.
        assert sorted(outcomes(backend.push(user_ids=[f"{user}-late"]))) == ["EXPIRED", "WRITTEN"]
        # It comes back, and with it everything that came meanwhile is known.
        server = own_nats(port=server.port)
        pusher.wait_outcome(there, "ACKNOWLEDGED")
        other = open_backend(nodes[1])
        eventually(lambda: outcomes(other.push(user_ids=[f"{user}-late"])) == ["WRITTEN"])
    pusher.stop()
    assert not pusher.failures
    believe(pusher, readers)
    assert pusher.count(here)["ACKNOWLEDGED"] == len({name for name, _, _ in pusher.receipts})
    assert set(pusher.count(there)) == {"ACKNOWLEDGED", "EXPIRED"}


@pytest.mark.parametrize("how", ["cut", "fall_silent"])
def test_a_gateway_that_is_cut_off_is_missed_and_comes_back(
    start_gateway, services, nats, lines, connect, open_backend, push, user, how
):
    line = lines(nats.port)
    nodes = start_cluster(start_gateway, services, [nats.url, nats.url, line.url])
    users = [f"{user}-{number}" for number in range(3)]
    clients = [connect(node).log_in(name) for name, node in zip(users, nodes, strict=True)]
    readers = {name: [Reader(client)] for name, client in zip(users, clients, strict=True)}
    pusher = push(open_backend(nodes[0]), users)
    # Of the gateway's own: its sessions are reached all the time.
    lonely = push(open_backend(nodes[2]), users, deadline=1, name="lonely-")
    pusher.wait_outcome(users[2], "ACKNOWLEDGED")
    lonely.wait_outcome(users[0], "ACKNOWLEDGED")
    marks = [len(node.lines) for node in nodes]
    getattr(line, how)()
    wait_log(nodes[2], "the connection to NATS is lost", marks[2], timeout=30)
    lonely.wait_outcome(users[0], "EXPIRED")
    lonely.wait_outcome(users[2], "ACKNOWLEDGED")
    wait_log(nodes[0], "a gateway of the cluster is lost", marks[0], timeout=30)
    pusher.wait_outcome(users[1], "ACKNOWLEDGED", timeout=30)
    # Whoever logs in over there meanwhile, and is elsewhere as well, is one when all is well again.
    double = f"{user}-double"
    older = connect(nodes[2]).log_in(double)
    newer = connect(nodes[0]).log_in(double)
    line.mend()
    for mark, node in zip(marks[:2], nodes[:2], strict=True):
        wait_known(node, 1, mark)
    pusher.wait_outcome(users[2], "ACKNOWLEDGED", timeout=30)
    lonely.wait_outcome(users[0], "ACKNOWLEDGED", timeout=30)
    assert older.wait_closed()[0] == 3004
    backend = open_backend(nodes[2])
    eventually(lambda: outcomes(backend.push(user_ids=[double], data=b"x")) == ["WRITTEN"])
    assert newer.receive_push().data == b"x"
    for whose in (pusher.stop(), lonely.stop()):
        assert not whose.failures
        believe(whose, readers)
    assert set(pusher.count(users[1])) == {"ACKNOWLEDGED"}
    assert set(pusher.count(users[2])) <= {"ACKNOWLEDGED", "EXPIRED", "OFFLINE"}
    assert set(lonely.count(users[2])) <= {"ACKNOWLEDGED", "EXPIRED"}


def test_a_gateway_starts_without_nats_and_finds_it_later(
    start_gateway, services, own_nats, connect, open_backend, user
):
    first = own_nats()
    port, name = first.port, f"late-{user}"
    first.stop()
    url = f"nats://127.0.0.1:{port}"
    nodes = [
        start_gateway(cluster_config(services, url, name), env={"HOSTNAME": f"node-{number}"})
        for number in range(2)
    ]
    client = connect(nodes[0]).log_in(user)
    backends = [open_backend(node) for node in nodes]
    told = outcomes(backends[0].push(user_ids=[user], data=b"1", confirm=WRITTEN))
    assert sorted(told) == ["EXPIRED", "WRITTEN"]
    assert outcomes(backends[1].push(user_ids=[user])) == ["EXPIRED"]
    own_nats(port=port)
    for node in nodes:
        wait_known(node, 1)
    eventually(lambda: outcomes(backends[1].push(user_ids=[user], data=b"2")) == ["WRITTEN"])
    assert [client.receive_push().data for _ in range(2)] == [b"1", b"2"]


def test_a_slow_nats_slows_receipts_and_nothing_else(
    start_gateway, services, nats, lines, connect, open_backend, user
):
    line = lines(nats.port)
    nodes = start_cluster(start_gateway, services, [line.url, nats.url], 2)
    far, near = f"{user}-far", f"{user}-near"
    clients = {far: connect(nodes[1]).log_in(far), near: connect(nodes[0]).log_in(near)}
    line.delay = 0.1
    backend = open_backend(nodes[0])
    began = time.monotonic()
    assert outcomes(backend.push(user_ids=[far], data=b"x", deadline=LONG)) == ["WRITTEN"]
    assert time.monotonic() - began > 0.2
    call = backend.begin_push(user_ids=[far, near], data=b"y", deadline=LONG)
    began = time.monotonic()
    assert next(call).session.user_id == near
    assert time.monotonic() - began < 0.15
    assert [it.session.user_id for it in call] == [far]
    assert clients[near].receive_push().data == b"y"
    began = time.monotonic()
    clients[near].call_ok("/v1/probe/echo", EchoReq(text="x"), EchoResp)
    assert time.monotonic() - began < 0.15
    assert count_of(nodes[0], "lost") == 0


def test_nats_may_ask_who_is_there_and_speak_tls(
    start_gateway, with_admin, services, own_nats, tmp_path, connect, open_backend, user
):
    authority = Authority(tmp_path)
    cert, key, _ = authority.issue("nats")
    own_cert, own_key, _ = authority.issue("gateway")
    config = tmp_path / "nats.conf"
    config.write_text(
        f"""
        tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{authority.file}", verify: true }}
        authorization {{ user: gateway, password: secret }}
        """
    )
    running = own_nats("-c", config)
    url = f"tls://localhost:{running.port}"
    tls = {"ca": str(authority.file), "cert": str(own_cert), "key": str(own_key)}
    own = {"tls": tls, "user": "gateway", "password": "secret"}
    nodes = start_cluster(start_gateway, services, url, 2, cluster=own)
    connect(nodes[0]).log_in(user)
    assert outcomes(open_backend(nodes[1]).push(user_ids=[user])) == ["WRITTEN"]
    # One that nobody lets in says so, where and why, and goes on by itself.
    wrong = cluster_config(services, url, "x", cluster={**own, "password": "wrong"})
    lonely = with_admin(wrong)
    event = lonely.wait_event(lambda event: event.get("message", "").startswith("no connection to NATS"))
    assert event["problem"].startswith(f"{url}: authorization violation"), event
    connect(lonely).log_in(user)
    # It is logged once, however many attempts there are, and not by the library.
    _, text = status_of(lambda: list(open_backend(lonely).sessions()))
    assert text.endswith("missing: the other gateways (no connection to NATS)"), text
    reasons = readiness(lonely)[1]["checks"]["cluster"]["reasons"]
    assert reasons == [f"no connection to NATS: {event['problem']}"]
    attempts = count_of(running, "authentication error")
    eventually(lambda: count_of(running, "authentication error") >= attempts + 2)
    assert count_of(lonely, "refuses the login") == 1, lonely.tail()
    assert count_of(lonely, "async_nats") == 0, lonely.tail()
    assert count_of(lonely, "in the cluster") == 0 and count_of(nodes[0], "in the cluster") > 0
    assert count_of(lonely, f"connecting to NATS at {url}") == 1
    assert "secret" not in "\n".join(lonely.lines) and "wrong" not in "\n".join(lonely.lines)


def test_a_nats_that_shows_the_certificate_of_an_authority_is_explained(
    start_gateway, services, own_nats, tmp_path
):
    authority = Authority(tmp_path)
    write_private_key(tmp_path / "ca.key", authority.key)
    config = tmp_path / "nats.conf"
    config.write_text(f'tls {{ cert_file: "{authority.file}", key_file: "{tmp_path / "ca.key"}" }}')
    url = f"tls://localhost:{own_nats('-c', config).port}"
    own = {"tls": {"ca": str(authority.file)}}
    gateway = start_gateway(cluster_config(services, url, "x", cluster=own))
    event = gateway.wait_event(lambda event: event.get("message", "").startswith("no connection to NATS"))
    expected = f"{url}: invalid peer certificate: it is that of an authority (CA:TRUE)"
    assert event["problem"].startswith(expected), event


class Tree:
    """All that NATS and gateways need to know each other: an authority, an operator, and their files."""

    def __init__(self, directory):
        self.authority, self.operator = Authority(directory), Operator()
        cert, key, _ = self.authority.issue("nats")
        self.config = directory / "nats.conf"
        self.config.write_text(
            f"""{self.operator.server_config()}
            tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{self.authority.file}", verify: true }}
            """
        )
        own_cert, own_key, _ = self.authority.issue("gateway")
        self.files = {
            "ca.pem": self.authority.file.read_bytes(),
            "own.pem": own_cert.read_bytes(),
            "own.key": own_key.read_bytes(),
            "own.creds": self.operator.creds.encode(),
        }

    def hand_over(self, directory):
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


def test_credentials_and_certificates_for_nats_are_read_again(
    start_gateway, services, own_nats, tmp_path, connect, open_backend, user
):
    """NATS comes back with another authority and other users; nobody restarts."""
    old, new = Tree(tmp_path / "old"), Tree(tmp_path / "new")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    old.hand_over(mounted)
    running = own_nats("-c", old.config)
    tls = {"ca": str(mounted / "ca.pem"), "cert": str(mounted / "own.pem"), "key": str(mounted / "own.key")}
    own = {"tls": tls, "credentials": str(mounted / "own.creds")}
    nodes = start_cluster(start_gateway, services, f"tls://localhost:{running.port}", 2, cluster=own)
    connect(nodes[0]).log_in(user)
    assert outcomes(open_backend(nodes[1]).push(user_ids=[user])) == ["WRITTEN"]
    # What cannot be used changes nothing, and is not shown.
    marks = [len(node.lines) for node in nodes]
    (mounted / "own.creds").write_text(old.operator.creds.replace("\n", " "))
    (mounted / "own.key").write_bytes(old.files["own.key"].replace(b"\n", b"\\n"))
    for node, mark in zip(nodes, marks, strict=True):
        wait_log(node, "the new credentials for NATS are refused", mark)
        assert not any(old.operator.seed in line for line in node.lines)
    running.stop()
    running = own_nats("-c", old.config, port=running.port)
    for node, mark in zip(nodes, marks, strict=True):
        wait_log(node, "connected to NATS", mark)
    # What can be used is shown with the next connection.
    marks = [len(node.lines) for node in nodes]
    new.hand_over(mounted)
    for node, mark in zip(nodes, marks, strict=True):
        wait_log(node, "credentials for NATS read again", mark)
    running.stop()
    own_nats("-c", new.config, port=running.port)
    for node, mark in zip(nodes, marks, strict=True):
        wait_log(node, "connected to NATS", mark)
    backend = open_backend(nodes[1])
    eventually(lambda: outcomes(backend.push(user_ids=[user])) == ["WRITTEN"])
    for node in nodes:
        assert not any(new.operator.seed in line or "PRIVATE" in line for line in node.lines)


def test_a_gateway_that_stood_still_for_a_while_is_one_of_them_again(
    start_gateway, services, nats, connect, open_backend, user
):
    nodes = start_cluster(start_gateway, services, nats.url)
    # On two gateways, so that the one must know of the other.
    clients = [connect(node).log_in(user, deviceId=node.address) for node in nodes[1:]]
    backend = open_backend(nodes[0])
    marks = [len(node.lines) for node in nodes]
    nodes[2].process.send_signal(signal.SIGSTOP)
    try:
        for node, mark in zip(nodes[:2], marks[:2], strict=True):
            wait_log(node, "a gateway of the cluster is lost", mark)
    finally:
        nodes[2].process.send_signal(signal.SIGCONT)
    for node, mark in zip(nodes[:2], marks[:2], strict=True):
        wait_known(node, 1, mark)
    eventually(lambda: outcomes(backend.push(user_ids=[user], data=b"")) == ["WRITTEN"] * 2)
    for number in range(100):
        assert outcomes(backend.push(user_ids=[user], data=b"x")) == ["WRITTEN"] * 2, number
    clients[1].close()
    eventually(lambda: outcomes(backend.push(user_ids=[user])) == ["WRITTEN"])


def test_holders_that_cannot_be_asked_are_not_passed_over(
    start_gateway, services, own_nats, lines, connect, open_backend, user
):
    nats = own_nats()
    line = lines(nats.port)
    nodes = start_cluster(start_gateway, services, [nats.url, line.url, nats.url])
    for number, node in enumerate(nodes[:2]):
        connect(node).log_in(user, deviceId=f"d{number}")
    backends = [open_backend(node) for node in nodes]

    def told(backend, deadline=1):
        return sorted(outcomes(backend.push(user_ids=[user], data=b"x", deadline=deadline)))

    for backend in backends:
        eventually(lambda backend=backend: told(backend) == ["WRITTEN", "WRITTEN"])
    marks = [len(node.lines) for node in nodes]
    # The one at the same gateway knows of the other as well as anybody.
    line.cut()
    wait_log(nodes[1], "the connection to NATS is lost", marks[1])
    assert told(backends[0]) == ["EXPIRED", "WRITTEN"]
    assert told(backends[2]) == ["EXPIRED", "WRITTEN"]
    line.mend()
    for backend in backends:
        eventually(lambda backend=backend: told(backend) == ["WRITTEN", "WRITTEN"])
    # All begin again, one of them later: until it is lost it may hold the user.
    marks = [len(node.lines) for node in nodes]
    line.cut()
    nats.kill()
    own_nats(port=nats.port)
    for number in (0, 2):
        wait_log(nodes[number], "connected to NATS", marks[number])
    assert "EXPIRED" in told(backends[2])
    line.mend()
    wait_log(nodes[1], "connected to NATS", marks[1])
    for backend in backends:
        eventually(lambda backend=backend: told(backend) == ["WRITTEN", "WRITTEN"])


def test_devices_that_came_twice_without_nats_keep_the_newer_session(
    start_gateway, services, own_nats, connect_raw, open_backend, user
):
    nats = own_nats()
    nodes = start_cluster(start_gateway, services, nats.url, count=2)
    marks = [len(node.lines) for node in nodes]
    nats.kill()
    for mark, node in zip(marks, nodes, strict=True):
        wait_log(node, "the connection to NATS is lost", mark)
    # More than are said in one go.
    for number in range(1000):
        for node in nodes if number % 2 else nodes[::-1]:
            connect_raw(node, user=f"{user}-{number}")
    own_nats(port=nats.port)
    backend = open_backend(nodes[0])

    def newer():
        at = Counter((it.user_id, it.node) for it in backend.sessions(platforms=["ios"]))
        return at == {(f"{user}-{n}", f"node-{n % 2}"): 1 for n in range(1000)}

    def listed():
        try:
            return newer()
        except grpc.RpcError:
            return False

    eventually(listed, 20)


def test_watches_that_end_with_nats_are_forgotten_everywhere(
    start_gateway, services, own_nats, open_backend
):
    nats = own_nats()
    nodes = start_cluster(start_gateway, services, nats.url, count=2)
    backend = open_backend(nodes[0])
    watches = [backend.watch(snapshot=True, platforms=["ios"]) for _ in range(3)]
    assert {next(watch).kind for watch in watches} == {Kind.SNAPSHOT_END}
    told = Heard(nats.port, f"{nodes[0].cluster}.v1.watch.>")
    eventually(lambda: len(told.subjects()) == 3)
    told.close()
    marks = [len(node.lines) for node in nodes]
    nats.kill()
    for watch in watches:
        assert status_of(lambda watch=watch: next(watch))[0].name == "UNAVAILABLE"
    nats = own_nats(port=nats.port)
    for mark, node in zip(marks, nodes, strict=True):
        wait_log(node, "connected to NATS", mark)
    # Signs of life come every two seconds; the first is answered.
    time.sleep(2.5)
    told = Heard(nats.port, f"{nodes[0].cluster}.v1.watch.>")
    time.sleep(4.5)
    assert told.subjects() == set()
    told.close()


class Heard(threading.Thread):
    """What is said at NATS under some subjects, whoever it is meant for."""

    def __init__(self, port, subjects):
        super().__init__(daemon=True)
        self._said = b""
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.sendall(b'CONNECT {"verbose":false}\r\nSUB %s 1\r\n' % subjects.encode())
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while data := self._sock.recv(1 << 16):
                self._said += data

    def subjects(self):
        return set(re.findall(rb"MSG (\S+)", self._said))

    def close(self):
        self._sock.shutdown(socket.SHUT_RDWR)
        self.join()
        self._sock.close()
