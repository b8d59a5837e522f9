"""Many sessions at once, in one thread: for tests that need hundreds of clients."""

import asyncio
import threading
import time

import websockets.asyncio.client
from bridgehead.session.v1 import session_pb2 as pb
from session_client import SET_CXN_PARAMS, SET_USER_PARAMS, Code, cxn_params, encode_request
from websockets.exceptions import ConnectionClosed

PATIENCE = 30
# Handshakes under way at once.
AT_ONCE = 50


class Member:
    """One session, and all that came over it."""

    def __init__(self, user):
        self.user = user
        self.ws = None
        self.answers = {}
        self.pushes = []
        # The close code (None: no close frame), and when it came by time.monotonic().
        self.close_code = None
        self.closed_at = None
        self.over = asyncio.Event()

    async def log_in(self, url):
        self.ws = await websockets.asyncio.client.connect(
            url, proxy=None, compression=None, ping_interval=None, close_timeout=1, open_timeout=PATIENCE
        )
        assert await self.ws.recv() == "connected"
        user = pb.SetUserParamsReq(userId=self.user, token="t")
        await self.send("cxn", SET_CXN_PARAMS, cxn_params(deviceId=self.user))
        await self.send("user", SET_USER_PARAMS, user)
        while len(self.answers) < 2:
            self.take(await self.ws.recv())
        assert {answer.code for answer in self.answers.values()} == {Code.Success}
        self.answers.clear()

    async def send(self, req_id, method, message):
        await self.ws.send(encode_request(req_id, method, message.SerializeToString()))

    def take(self, frame):
        push = pb.PushBody.FromString(frame)
        if push.event != pb.PushResponseBody:
            self.pushes.append(push)
            return
        answer = pb.ResponseBody.FromString(push.data)
        assert answer.reqId not in self.answers, f"answered twice: {answer}"
        self.answers[answer.reqId] = answer

    async def follow(self):
        try:
            while True:
                self.take(await self.ws.recv())
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd and closed.rcvd.code
        self.closed_at = time.monotonic()
        self.over.set()


class Crowd:
    """Sessions of the users NAME-0, NAME-1, …, logged in, whose frames are read as they come."""

    def __init__(self, url, count, name="user"):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.members = [Member(f"{name}-{number}") for number in range(count)]
        self._run(self._gather(url))

    def _run(self, coroutine, timeout=PATIENCE):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    async def _gather(self, url):
        turns = asyncio.Semaphore(AT_ONCE)

        async def join(member):
            async with turns:
                await member.log_in(url)
            self._following.append(self._loop.create_task(member.follow()))

        self._following = []
        await asyncio.gather(*(join(member) for member in self.members))

    def send(self, member, req_id, method, message):
        """Sends a request; its answer will be in the member's answers."""
        self._run(member.send(req_id, method, message))

    def wait_over(self, timeout=PATIENCE):
        """Waits until every session has ended."""
        self._run(self._all_over(), timeout)

    async def _all_over(self):
        await asyncio.gather(*self._following)

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
