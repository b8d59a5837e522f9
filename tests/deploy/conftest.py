"""Fixtures that the checks of the chart share: helm, the binary, and what is rendered."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from chart import CHART, OUT, ROOT, Helm
from nats_server import Server, free_ports

VALUE_FILES = sorted((CHART / "ci").glob("*-values.yaml"))


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("BRIDGEHEAD", ROOT / "target" / "debug" / "bridgehead")).resolve()
    assert path.is_file(), f"no gateway at {path}: build it, or name it in BRIDGEHEAD"
    return path


@pytest.fixture(scope="session")
def helm():
    return Helm(OUT / "helm")


@pytest.fixture(scope="session", params=VALUE_FILES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def values_file(request):
    return request.param


@pytest.fixture(scope="session")
def release(helm, values_file):
    """What each of the value files renders to."""
    return helm.template(values_file)


@pytest.fixture(scope="session")
def config_schema(binary):
    """The JSON Schema of routes.yaml, as this binary knows it."""
    printed = subprocess.run([binary, "schema"], capture_output=True, text=True, check=True)
    return json.loads(printed.stdout)


@pytest.fixture
def start_nats(tmp_path):
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
