"""The chart's NATS: real servers with the rendered configuration."""

import json
import os
import socket
import subprocess
import time
import urllib.request

import pytest
from chart import CHART, OUT

CI = CHART / "ci"
SERVER = OUT / "venv" / "bin" / "nats-server"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


class Server:
    """One server of the StatefulSet, on ports of this machine."""

    def __init__(self, release, ordinal, ports, folder, environment):
        workload = release.all("StatefulSet")[0]
        name = workload["metadata"]["name"]
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        self.client, routes, self.monitor = ports[ordinal]
        self.pid_file = folder / f"{ordinal}.pid"
        text = release.get("ConfigMap", name)["data"]["nats.conf"]
        text = text.replace("0.0.0.0:4222", f"127.0.0.1:{self.client}")
        text = text.replace("0.0.0.0:6222", f"127.0.0.1:{routes}")
        text = text.replace("0.0.0.0:8222", f"127.0.0.1:{self.monitor}")
        text = text.replace("/var/run/nats/nats.pid", str(self.pid_file))
        for other, (_, other_routes, _) in enumerate(ports):
            text = text.replace(f"{name}-{other}.{name}-headless:6222", f"127.0.0.1:{other_routes}")
        file = folder / f"{ordinal}.conf"
        file.write_text(text)
        arguments = [argument.replace("/etc/nats/nats.conf", str(file)) for argument in container["args"]]
        for variable, value in environment.items():
            arguments = [argument.replace(f"$({variable})", value) for argument in arguments]
        self.log = (folder / f"{ordinal}.log").open("w+")
        self.process = subprocess.Popen(
            [SERVER, *arguments],
            env={"PATH": os.environ["PATH"], "POD_NAME": f"{name}-{ordinal}", **environment},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=5) as response:
            return json.load(response)

    def wait_until(self, holds):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if holds():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.log.seek(0)
        raise AssertionError(self.log.read())

    def greet(self, **options):
        """What the server says to a client with these options of CONNECT."""
        with socket.create_connection(("127.0.0.1", self.client), timeout=5) as connection:
            lines = connection.makefile("rwb")
            assert lines.readline().startswith(b"INFO ")
            connect = {"verbose": False, "lang": "test", "version": "1"} | options
            lines.write(b"CONNECT %s\r\nPING\r\n" % json.dumps(connect).encode())
            lines.flush()
            return lines.readline().decode().strip()


@pytest.fixture
def start(tmp_path):
    running = []

    def start(release, environment=None):
        count = release.all("StatefulSet")[0]["spec"]["replicas"]
        flat = free_ports(3 * count)
        ports = [tuple(flat[3 * n : 3 * n + 3]) for n in range(count)]
        running.extend(Server(release, n, ports, tmp_path, environment or {}) for n in range(count))
        for server in running:
            server.wait_until(lambda server=server: server.get("/healthz")["status"] == "ok")
        return running

    yield start
    for server in running:
        server.process.kill()
        server.process.wait()
        server.log.close()


def test_the_servers_are_one_cluster(helm, start):
    servers = start(helm.template(CI / "minimal-values.yaml"))
    assert len(servers) == 3
    for ordinal, server in enumerate(servers):
        others = {f"rel-bridgehead-nats-{n}" for n in range(3)} - {f"rel-bridgehead-nats-{ordinal}"}
        server.wait_until(lambda: {r["remote_name"] for r in server.get("/routez")["routes"]} == others)
        assert server.get("/varz")["server_name"] == f"rel-bridgehead-nats-{ordinal}"
        assert server.get("/varz")["max_payload"] == 4 << 20
        assert server.greet() == "PONG"


# Tokens that nats.conf would read as a number.
@pytest.mark.parametrize("token", ["secret", "1234567890", "12e45", "0x1f"])
def test_one_server_alone_wants_its_token(helm, start, token):
    release = helm.template(CI / "nats-values.yaml")
    (server,) = start(release, {"NATS_TOKEN": token})
    assert server.greet(auth_token=token) == "PONG"
    assert "Authorization" in server.greet()
    assert "Authorization" in server.greet(auth_token="other")
    assert server.get("/varz")["max_payload"] == 8 << 20
    assert server.get("/varz")["max_connections"] == 1000, "extraConfig is read"


def test_before_it_stops_a_server_sends_its_clients_elsewhere(helm, start):
    """As the preStop hook asks for it: by the signal, to the process of the pid file."""
    release = helm.template(CI / "minimal-values.yaml")
    (container,) = release.all("StatefulSet")[0]["spec"]["template"]["spec"]["containers"]
    program, *arguments = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "/nats-server", "the image is from scratch: this program is all that it has"
    server = start(release)[0]
    connection = socket.create_connection(("127.0.0.1", server.client), timeout=20)
    lines = connection.makefile("rwb")
    lines.readline()
    lines.write(b'CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
    lines.flush()
    while not lines.readline().startswith(b"PONG"):
        pass
    here = [argument.replace("/var/run/nats/nats.pid", str(server.pid_file)) for argument in arguments]
    subprocess.run([SERVER, *here], check=True, timeout=20)
    while b'"ldm":true' not in lines.readline():
        pass
    connection.close()
    grace = release.all("StatefulSet")[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > 5 + 30, "lame_duck_grace_period and lame_duck_duration"
