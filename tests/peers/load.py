"""Load: clients that keep a number of calls in flight and keep account of every one."""

import threading
import time
from dataclasses import dataclass

from probe_pb2 import WorkReq
from session_client import KEEP_ALIVE, Code, SessionClient, common_resp


@dataclass
class Call:
    id: str
    sent: float
    answered: float = None
    code: int = None
    reason: str = ""


class LoadingClient(threading.Thread):
    """One session that calls `method` again and again until told to stop.

    Every call has an id of its own, which the service writes to its journal.
    """

    def __init__(self, url, name, *, method="/v1/probe/work", window=8, millis=0):
        super().__init__(name=name, daemon=True)
        self.url, self.method, self.window, self.millis = url, method, window, millis
        self.calls = {}
        self.surplus = []
        self.failure = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        try:
            with SessionClient(self.url) as client:
                client.log_in(user=self.name)
                self._load(client)
        except Exception as failure:  # noqa: BLE001: told to the test by stop()
            self.failure = failure

    def _load(self, client):
        open_calls = 0
        while open_calls or not self._stopping.is_set():
            while open_calls < self.window and not self._stopping.is_set():
                self._send(client)
                open_calls += 1
            answer = client.receive()
            self._account(answer)
            open_calls -= 1
            if answer.code != Code.Success:
                # What a client does with a passing failure: not at full speed.
                self._stopping.wait(0.005)
        # Whatever is still on its way arrives before this.
        last = client.send(KEEP_ALIVE)
        while (answer := client.receive()).reqId != last:
            self._account(answer)

    def _send(self, client):
        call = Call(f"{self.name}-{len(self.calls)}", time.monotonic())
        self.calls[call.id] = call
        work = WorkReq(id=call.id, group=self.name, millis=self.millis)
        client.send(self.method, work, req_id=call.id)

    def _account(self, answer):
        call = self.calls.get(answer.reqId)
        if call is None or call.answered:
            self.surplus.append(answer)
            return
        call.answered, call.code = time.monotonic(), answer.code
        if answer.code != Code.Success:
            call.reason = f"{call.id}: {Code.Name(answer.code)} {common_resp(answer).msg}"

    def stop(self, timeout=30):
        """Stops sending, waits for what is in flight. Gives all calls, each answered once."""
        self._stopping.set()
        self.join(timeout)
        assert not self.is_alive(), f"{self.name} still waits for answers"
        if self.failure:
            raise self.failure
        assert not self.surplus, f"answers nobody asked for: {self.surplus}"
        assert all(call.answered for call in self.calls.values())
        return list(self.calls.values())

    def answered(self):
        return sum(1 for call in list(self.calls.values()) if call.answered)


class Load:
    """Several such clients."""

    def __init__(self, gateway, clients, **options):
        self.clients = [LoadingClient(gateway.url, f"load-{number}", **options) for number in range(clients)]

    def answered(self):
        return sum(client.answered() for client in self.clients)

    def wait_for(self, more, timeout=20):
        """Waits until so many more calls have been answered."""
        goal = self.answered() + more
        deadline = time.monotonic() + timeout
        while self.answered() < goal:
            assert time.monotonic() < deadline, "the load does not get on"
            failed = [client.failure for client in self.clients if client.failure]
            assert not failed, failed
            time.sleep(0.01)

    def stop(self):
        return [call for client in self.clients for call in client.stop()]

    def stop_without_failures(self):
        calls = self.stop()
        failed = [call.reason for call in calls if call.code != Code.Success]
        assert not failed, f"{len(failed)} of {len(calls)} calls failed: {failed[:10]}"
        return calls
