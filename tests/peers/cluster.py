"""Several gateways on one NATS server, and what can happen between the two."""

import contextlib
import secrets
import socket
import threading
import time

from configuration import PUSH, gateway_config
from processes import eventually


def cluster_config(services, nats_url, name, **sections):
    """A gateway of the cluster `name`: a device has one session in all of it."""
    session = {"one_session_per": "device", **sections.pop("session", {})}
    own = {"nats": nats_url, "name": name, **sections.pop("cluster", {})}
    return gateway_config(services, session=session, push=PUSH, cluster=own, **sections)


def start_cluster(start_gateway, services, nats_urls, count=3, **sections):
    """So many gateways that know each other. `nats_urls`: one for all or one for each."""
    name = f"test-{secrets.token_hex(4)}"
    urls = nats_urls if isinstance(nats_urls, list) else [nats_urls] * count
    gateways = [
        start_gateway(
            cluster_config(services, url, name, **sections), env={"HOSTNAME": f"node-{number}"}
        )
        for number, url in enumerate(urls)
    ]
    for gateway in gateways:
        gateway.cluster = name
        wait_log(gateway, "connected to NATS")
        wait_known(gateway, len(gateways) - 1)
    return gateways


def wait_known(gateway, others, start=0):
    """Waits until a gateway has found so many others, counted from a line of its log on."""
    eventually(lambda: count_of(gateway, "a gateway is in the cluster", start) >= others)


def count_of(gateway, text, start=0):
    return sum(text in line for line in gateway.lines[start:])


def wait_log(gateway, text, start=0, timeout=15):
    gateway.wait_line(lambda line: text in line, start=start, timeout=timeout)


class Line:
    """A line between one gateway and NATS: it can be cut, and it can fall silent."""

    def __init__(self, port):
        self._to = ("127.0.0.1", port)
        self._flows = threading.Event()
        self._flows.set()
        self._open = set()
        self._is_cut = False
        self._lock = threading.Lock()
        # Seconds that every piece takes.
        self.delay = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._is_cut:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._to)
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._open |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self._flows.wait()
                if self.delay:
                    time.sleep(self.delay)
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {one, other}

    def cut(self):
        """Ends every connection and accepts none."""
        self._is_cut = True
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._flows.set()

    def fall_silent(self):
        """Nothing gets through any more, and nobody is told."""
        self._flows.clear()

    def mend(self):
        self._is_cut = False
        self._flows.set()

    def close(self):
        self.cut()
        self._listener.close()
