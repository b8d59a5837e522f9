"""Real gateways with a real service behind them, and what their /metrics say."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chart import OUT, ROOT
from credentials import local_certificate

PATIENCE = 30
SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
LIST = ["/v1/relation/getFriendList", '{"page": {"page": 1, "size": 5}}']


class Program:
    """A program with what it prints in a file; its addresses are in there."""

    def __init__(self, folder, *command):
        folder.mkdir(exist_ok=True)
        self.log = folder / "log"
        environment = {"PATH": os.environ["PATH"], "HOSTNAME": folder.name}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=log)

    def find(self, pattern, timeout=PATIENCE):
        """What the pattern's group is, once it is printed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if found := re.search(pattern, self.log.read_text()):
                return found[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"{pattern} is not in\n{self.log.read_text()}")

    def stop(self):
        # Twice: the second signal skips draining.
        for _ in range(2):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Demo(Program):
    """`bridgehead demo`, for its services and its key pair."""

    def __init__(self, binary, folder, services):
        keys = folder / "keys"
        listen = ["--listen", "127.0.0.1:0", "--push", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        listen += ["--services", f"127.0.0.1:{services}"]
        super().__init__(folder, binary, "demo", "--key-dir", keys, *listen)
        self.find("(Clients connect at)")
        self.address, self.private, self.public = f"http://127.0.0.1:{services}", keys / "session.pem", keys / "session.pub.pem"


class Nats(Program):
    """A NATS server."""

    def __init__(self, folder):
        super().__init__(folder, OUT / "venv" / "bin" / "nats-server", "-a", "127.0.0.1", "-p", "-1")
        self.url = "nats://127.0.0.1:" + self.find(r"client connections on \S+:(\d+)")


def serve_keys(jwks):
    """Has a key set at a URL, as an identity provider does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(jwks)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/jwks.json"


class Gateway(Program):
    """`bridgehead serve` with the services of a demo behind it; one of a cluster has TLS too, and
    judges logins by keys that it fetches."""

    def __init__(self, binary, folder, demo, nats=None):
        self.binary, self.demo = binary, demo
        sections = {
            "edge": {"listen": "127.0.0.1:0"},
            "session": {"private_key": str(demo.private)},
            "auth": {"none": {}},
            "upstreams": {
                "relation": {
                    "address": demo.address,
                    "descriptors": "reflection",
                    "routes": {LIST[0]: "pb.relationService/GetFriendList"},
                }
            },
            "push": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "drain": {"delay": "0s", "period": "0s"},
            **({"cluster": {"nats": nats.url}} if nats else {}),
        }
        folder.mkdir()
        self.trust, self.token = [], "t"
        if nats:
            self.command("token", "--new-key", "es256", "--out", folder)
            self.token = self.command("token", "--key", folder / "jwt.pem", "--user", "u1").strip()
            sections["auth"] = {"jwt": {"keys": serve_keys((folder / "jwks.json").read_bytes())}}
            files = dict(zip(("ca.crt", "tls.crt", "tls.key"), local_certificate()))
            for name, content in files.items():
                (folder / name).write_text(content)
            sections["edge"]["tls"] = sections["push"]["tls"] = {"cert": "tls.crt", "key": "tls.key"}
            self.trust = ["--ca", folder / "ca.crt"]
        secure = "s" if nats else ""
        self.config = folder / "routes.yaml"
        self.config.write_text(json.dumps(sections))
        super().__init__(folder, binary, "serve", "-c", self.config)
        self.url = f"ws{secure}://" + self.find(r"app: listening address=(\S+)") + "/ws"
        self.admin = "http://" + self.find(r"admin listening address=(\S+)")
        self.push = f"http{secure}://" + self.find(r"push API listening address=(\S+)")

    def command(self, *arguments):
        done = subprocess.run(
            [self.binary, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, *more):
        """A client that comes, logs in, calls and goes."""
        return self.command("call", *LIST, "--url", self.url, "--user", "u1", "--token", self.token, *self.trust, *more)

    def push_to_nobody(self):
        return self.command("push", "--user", "nobody", "--text", "x", "--push-url", self.push, *self.trust)

    def metrics(self):
        with urllib.request.urlopen(self.admin + "/metrics", timeout=PATIENCE) as answer:
            return Exposition(answer.read().decode())


class Exposition:
    """What one gateway exposes."""

    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self.samples = []
        for line in lines:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            self.samples.append((name, dict(LABEL.findall(labels or "")), float(value)))

    def value(self, wanted, **labels):
        (found,) = [value for name, has, value in self.samples if name == wanted and has == labels]
        return found

    def names(self):
        """Of series: a histogram has three."""
        return {name for name, _, _ in self.samples}

    def labels(self, name):
        """The labels of a metric or series, each with its values; `le` of histograms is left out."""
        series = {name} if self.types.get(name) != "histogram" else {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        found = {}
        for sample, labels, _ in self.samples:
            if sample in series:
                for label, value in labels.items():
                    found.setdefault(label, set()).add(value)
        found.pop("le", None)
        return found
