"""The chart's NATS: real servers with the rendered configuration."""

import socket
import subprocess

import pytest

from chart import CHART
from nats_server import SERVER

CI = CHART / "ci"


def test_the_servers_are_one_cluster(helm, start_nats):
    servers = start_nats(helm.template(CI / "minimal-values.yaml"))
    assert len(servers) == 3
    for ordinal, server in enumerate(servers):
        others = {f"rel-bridgehead-nats-{n}" for n in range(3)} - {f"rel-bridgehead-nats-{ordinal}"}
        server.wait_until(lambda: {r["remote_name"] for r in server.get("/routez")["routes"]} == others)
        assert server.get("/varz")["server_name"] == f"rel-bridgehead-nats-{ordinal}"
        assert server.get("/varz")["max_payload"] == 4 << 20
        assert server.greet() == "PONG"


# Tokens that nats.conf would read as a number.
@pytest.mark.parametrize("token", ["secret", "1234567890", "12e45", "0x1f"])
def test_one_server_alone_wants_its_token(helm, start_nats, token):
    release = helm.template(CI / "nats-values.yaml")
    (server,) = start_nats(release, {"NATS_TOKEN": token})
    assert server.greet(auth_token=token) == "PONG"
    assert "Authorization" in server.greet()
    assert "Authorization" in server.greet(auth_token="other")
    assert server.get("/varz")["max_payload"] == 8 << 20
    assert server.get("/varz")["max_connections"] == 1000, "extraConfig is read"


def test_before_it_stops_a_server_sends_its_clients_elsewhere(helm, start_nats):
    """As the preStop hook asks for it: by the signal, to the process of the pid file."""
    release = helm.template(CI / "minimal-values.yaml")
    (container,) = release.all("StatefulSet")[0]["spec"]["template"]["spec"]["containers"]
    program, *arguments = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "/nats-server", "the image is from scratch: this program is all that it has"
    server = start_nats(release)[0]
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
