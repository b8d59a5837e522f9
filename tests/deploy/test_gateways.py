"""Real gateways with the rendered configuration, over the chart's NATS: they act as one."""

import json
import os
import secrets
import subprocess
import time

import pytest

from chart import CHART
from nats_server import free_ports

PATIENCE = 30
# What the Secret of the Push API holds.
TOKENS = {name: secrets.token_hex(24) for name in ("current", "next")}


class Gateway:
    """One gateway of the Deployment, on ports of this machine."""

    def __init__(self, binary, release, nats, folder, environment):
        self.binary, self.environment = binary, {"PATH": os.environ["PATH"], **environment}
        client, self.push, admin = free_ports(3)
        text = release.config_text.replace("nats://rel-bridgehead-nats:4222", f"nats://127.0.0.1:{nats.client}")
        for old, new in [(8080, client), (9090, self.push), (9901, admin)]:
            assert f"0.0.0.0:{old}" in text
            text = text.replace(f"0.0.0.0:{old}", f"127.0.0.1:{new}")
        self.url = f"ws://127.0.0.1:{client}/ws"
        tokens = folder / "push-tokens"
        tokens.mkdir(parents=True)
        for name, token in TOKENS.items():
            (tokens / name).write_text(token)
        (folder / "routes.yaml").write_text(text.replace("/etc/bridgehead/secrets", str(folder)))
        self.log = folder / "log"
        arguments = [a.replace("/etc/bridgehead/config", str(folder)) for a in release.gateway["args"]]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([binary, *arguments], env=self.environment, stdout=log, stderr=log)

    def command(self, *arguments):
        return subprocess.run(
            [self.binary, *arguments], env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )

    def sessions(self):
        """Session ids, as the Push API of this gateway knows them."""
        listed = self.command("sessions", "--output", "json", *self.push_options())
        return [json.loads(line) for line in listed.stdout.splitlines()] if listed.returncode == 0 else []

    def push_options(self):
        return [f"--push-url=http://127.0.0.1:{self.push}", f"--push-token={TOKENS['current']}"]

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def gateways(helm, binary, start_nats, tmp_path):
    values = {"config.auth": {"none": {"insecure": True}}, "config.upstreams": {}}
    release = helm.template(CHART / "ci" / "nats-values.yaml", values=values)
    environment = {"NATS_TOKEN": secrets.token_hex(24)}
    (nats,) = start_nats(release, environment)
    running = [Gateway(binary, release, nats, tmp_path / name, environment) for name in ("a", "b")]
    yield running
    for gateway in running:
        gateway.stop()


def test_a_push_to_one_reaches_the_client_of_the_other(gateways):
    here, there = gateways
    client = None
    end = time.monotonic() + PATIENCE
    try:
        while not there.sessions():
            assert time.monotonic() < end, here.log.read_text() + there.log.read_text()
            if client is None or client.poll() is not None:
                call = ["call", "/v1/conn/keepAlive", "--listen", "--url", here.url, "--user", "u1", "--token", "t"]
                client = subprocess.Popen([here.binary, *call], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(0.2)
        done = there.command(
            "push",
            "--user",
            "u1",
            "--text",
            "hello",
            "--confirm",
            "acknowledged",
            "--output",
            "json",
            *there.push_options(),
        )
        assert done.returncode == 0 and "ACKNOWLEDGED" in done.stdout, done.stdout + done.stderr
    finally:
        if client is not None:
            client.kill()
            client.communicate()
