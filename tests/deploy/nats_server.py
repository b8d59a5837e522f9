"""Servers of the chart's StatefulSet, run on ports of this machine."""

import json
import os
import socket
import subprocess
import time
import urllib.request

from chart import OUT

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
