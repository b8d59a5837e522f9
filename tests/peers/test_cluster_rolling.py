"""A rolling restart of three gateways with a thousand clients that come back on 1001."""

import asyncio
import threading
import time
from collections import Counter

from cluster import cluster_config, start_cluster, wait_known
from crowd import Member
from probe_pb2 import WorkReq
from processes import eventually
from push_client import Outcome
from session_client import Code
from websockets.exceptions import ConnectionClosed

CLIENTS = 1000
CALLERS = 100


class Client(Member):
    """Comes back to another gateway whenever it is sent away; some call all the time."""

    def __init__(self, user, addresses, calls):
        super().__init__(user)
        self.addresses, self.calls = addresses, calls
        self.sent, self.all_answers, self.returns, self.codes = 0, {}, 0, []
        self.is_there = asyncio.Event()
        self.leaving = False

    async def live(self, number):
        while not self.leaving:
            # What a load balancer does: any that is ready.
            url = self.addresses[number % len(self.addresses)]
            number += 1
            try:
                await self.log_in(url)
            except Exception:  # noqa: BLE001: not ready, or gone: the next one
                await asyncio.sleep(0.02)
                continue
            self.is_there.set()
            calling = asyncio.create_task(self.call()) if self.calls else None
            await self.follow()
            self.is_there.clear()
            if not self.leaving:
                self.codes.append(self.close_code)
                self.returns += 1
            if calling:
                calling.cancel()

    async def call(self):
        """One call after the other. One that crossed the goodbye has no answer, and is sent again."""
        while not self.leaving:
            name = f"{self.user}-{self.sent}"
            if name in self.all_answers:
                # It came with the goodbye.
                self.sent += 1
                continue
            try:
                await self.send(name, "/v1/probe/work", WorkReq(id=name, group="rolling", millis=20))
            except ConnectionClosed:
                return
            while name not in self.all_answers:
                await asyncio.sleep(0.005)

    def take(self, frame):
        super().take(frame)
        # Those of the handshake are counted by the log-in.
        self.all_answers |= {name: it for name, it in self.answers.items() if name.startswith(f"{self.user}-")}


class Clients:
    def __init__(self, addresses):
        self.loop = asyncio.new_event_loop()
        self.addresses = addresses
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.members = self.run(self._start())

    def run(self, coroutine, timeout=120):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    async def _start(self):
        members = [Client(f"u{number}", self.addresses, number < CALLERS) for number in range(CLIENTS)]
        self.tasks = []
        for number, member in enumerate(members):
            self.tasks.append(asyncio.create_task(member.live(number)))
            if number % 50 == 49:
                await asyncio.sleep(0.1)
        return members

    def there(self):
        return sum(member.is_there.is_set() for member in self.members)

    def stop(self):
        self.run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _stop(self):
        for member in self.members:
            member.leaving = True
        # What is under way is answered before the goodbye.
        await asyncio.sleep(0.5)
        await asyncio.gather(*(it.ws.close() for it in self.members if it.ws))
        _, late = await asyncio.wait(self.tasks, timeout=20)
        for task in late:
            task.cancel()
        assert not late, f"{len(late)} clients do not end"


def test_nobody_is_dropped_and_no_call_lost_in_a_rolling_restart(
    start_gateway, services, nats, open_backend, capsys
):
    options = {"drain": {"delay": "0s", "period": "3s"}, "log": {"format": "json", "level": "info"}}
    nodes = start_cluster(start_gateway, services, nats.url, 3, **options)
    addresses = [node.url for node in nodes]
    clients = Clients(addresses)
    try:
        eventually(lambda: clients.there() == CLIENTS, timeout=60)
        began = time.monotonic()
        for number in range(3):
            old = nodes[number]
            # Of Kubernetes: first a new one, then the old one gets no clients any more.
            config = cluster_config(services, nats.url, old.cluster, **options)
            new = start_gateway(config, env={"HOSTNAME": f"new-{number}"})
            wait_known(new, 3)
            addresses[number] = new.url
            old.process.terminate()
            assert old.wait_exit(30) == 0
            nodes[number] = new
        eventually(lambda: clients.there() == CLIENTS, timeout=30)
        took = time.monotonic() - began
        receipts = open_backend(nodes[0]).push(everyone=True, data=b"back", deadline=10)
        reached = {it.session.user_id for it in receipts if it.outcome == Outcome.WRITTEN}
        clients.stop()
        codes = {code for member in clients.members for code in member.codes}
        answers = {name: it for member in clients.members for name, it in member.all_answers.items()}
        calls = len(answers)
    except BaseException:
        clients.stop()
        raise
    failed = [name for name, answer in answers.items() if answer.code != Code.Success]
    assert not failed, f"{len(failed)} of {calls} calls failed"
    # Each was executed once: what a service has done was answered, and what has no answer was not done.
    executed = Counter(services.executed())
    assert {executed[name] for name in answers} == {1}
    assert codes == {1001}
    assert len(reached) == CLIENTS
    assert all(member.returns >= 1 for member in clients.members)
    with capsys.disabled():
        print(f"\n3 gateways replaced in {took:.1f} s: {CLIENTS} clients back, {calls} calls, none lost")
