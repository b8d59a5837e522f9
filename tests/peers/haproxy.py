"""HAProxy, as load balancers in front of a gateway are set up."""

import csv
import os
import shutil
import socket

from processes import PATIENCE, Program, eventually

BINARY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")


class Haproxy(Program):
    """A balancer of one gateway. `server` and `lines` go into its configuration as they are."""

    def __init__(self, directory, gateway, *, server="", mode="tcp", listen="127.0.0.1", lines=()):
        directory.mkdir(parents=True, exist_ok=True)
        self._stats = directory / "stats"
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        # Bound here, so that its port is known.
        with socket.socket(family) as bound:
            bound.bind((listen, 0))
            self.port = bound.getsockname()[1]
            host = f"[{listen}]" if ":" in listen else listen
            self.address = f"{host}:{self.port}"
            config = directory / "haproxy.cfg"
            config.write_text("\n".join([
                "global",
                f"  stats socket {self._stats} level admin",
                "defaults",
                f"  mode {mode}",
                "  timeout connect 5s",
                "  timeout client 1m",
                "  timeout server 1m",
                "  timeout tunnel 1m",
                "listen gateway",
                f"  bind fd@{bound.fileno()}",
                *(f"  {line}" for line in lines),
                f"  server one {gateway} {server}",
                "",
            ]))  # fmt: skip
            super().__init__([BINARY, "-db", "-f", config], pass_fds=[bound.fileno()])
        eventually(self._stats.exists)
        self.url = f"ws://{self.address}/ws"

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(str(self._stats))
            asked.sendall(f"{command}\n".encode())
            answer = b""
            while part := asked.recv(1 << 16):
                answer += part
        return answer.decode()

    def health(self):
        """What it knows of the gateway's health."""
        rows = csv.DictReader(self.ask("show stat").removeprefix("# ").splitlines())
        return next(row for row in rows if row["svname"] == "one")
