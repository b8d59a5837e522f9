"""Programs that tests start: each in a process of its own, ended by its id, output at hand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import probe_pb2
import probe_pb2_grpc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE = 15


class Program:
    """A running program and the lines it has printed."""

    def __init__(self, command, *, cwd=None, env=None, pass_fds=()):
        self.lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_line(self, matches, *, start=0, timeout=PATIENCE):
        """The first line, from number `start` on, for which `matches` gives something true."""
        deadline = time.monotonic() + timeout
        seen = start
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if matches(line):
                        return line
                seen = max(seen, len(self.lines))
                ended = not self._reader.is_alive() or self.process.poll() is not None
                left = deadline - time.monotonic()
                if left <= 0 or (ended and not self._changed.wait(0.5)):
                    raise AssertionError(f"no such line (ended: {ended}):\n{self.tail()}")
                self._changed.wait(min(left, 0.5))

    def tail(self, count=40):
        return "\n".join(self.lines[-count:])

    def wait_exit(self, timeout=PATIENCE):
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def kill(self):
        """Ends it at once, like a crash."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self):
        """Asks it to end, twice, then kills it. Twice: the second signal skips draining."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(PATIENCE)


class Services(Program):
    """The probe services (services.py)."""

    def __init__(self, journal, *arguments, listen="127.0.0.1:0", instance="one"):
        self.journal = Path(journal)
        command = [sys.executable, HERE / "services.py", "--journal", journal]
        super().__init__([*command, "--listen", listen, "--instance", instance, *arguments])
        self.port = json.loads(self.wait_line(lambda line: line.startswith("{")))["port"]
        self.address = f"http://127.0.0.1:{self.port}"

    def count(self, group):
        """How much work the group has seen, asked without the gateway between."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub = probe_pb2_grpc.ProbeStub(channel)
            return stub.Count(probe_pb2.CountReq(group=group), timeout=PATIENCE, wait_for_ready=True)

    def executed(self):
        """The ids of all work begun, in order, from before a restart too."""
        return self.journal.read_text().split()


class Nats(Program):
    """A NATS server. `port`: a fixed one, so that it can come back."""

    def __init__(self, *arguments, port=-1):
        # Of the environment that runs this.
        binary = Path(sys.executable).parent / "nats-server"
        super().__init__([binary, "-a", "127.0.0.1", "-p", port, *arguments])
        line = self.wait_line(lambda line: "Listening for client connections" in line)
        self.wait_line(lambda line: "Server is ready" in line)
        self.port = int(line.rsplit(":", 1)[1])
        self.url = f"nats://127.0.0.1:{self.port}"


class Gateway(Program):
    """`bridgehead serve` with a configuration of the test's own."""

    def __init__(self, binary, directory, config, *, env=None):
        self.directory = Path(directory)
        self.config_file = self.directory / "routes.yaml"
        self.write_config(config)
        super().__init__([binary, "serve", "-c", self.config_file], cwd=self.directory, env=env)
        self.address = None
        self.push_address = None
        self.tls = "tls" in config["edge"]

    def write_config(self, config):
        """Replaces the file in one step, as an editor or Kubernetes does. JSON is YAML."""
        self.config = config
        new = self.config_file.with_suffix(".new")
        new.write_text(json.dumps(config, indent=2, ensure_ascii=False))
        new.replace(self.config_file)

    def wait_listening(self):
        if "push" in self.config:
            event = self.wait_event(lambda event: event.get("message") == "push API listening")
            self.push_address = event["address"]
        event = self.wait_event(lambda event: event.get("message") == "listening" and "address" in event)
        self.address = event["address"]
        return self

    def wait_event(self, matches, *, start=0, timeout=PATIENCE):
        """The first log event that matches, as a flat dictionary."""
        line = self.wait_line(lambda line: matches(as_event(line)), start=start, timeout=timeout)
        return as_event(line)

    def memory(self):
        """Resident memory now, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    @property
    def url(self):
        scheme = "wss" if self.tls else "ws"
        return f"{scheme}://{self.address}{self.config['edge'].get('path', '/ws')}"

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])


def as_event(line):
    """A JSON log line as a dictionary, its fields lifted to the top; {} for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return {**event, **event.get("fields", {})} if isinstance(event, dict) else {}


def eventually(condition, timeout=PATIENCE, interval=0.02):
    """Asks again until `condition()` gives something true. For what cannot be waited on."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(interval)
    return result
