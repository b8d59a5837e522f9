"""A TCP proxy that can lose its state: it goes on to take bytes, which then lead nowhere."""

import contextlib
import socket
import threading


class LossyProxy:
    """A proxy in front of one port of this machine."""

    def __init__(self, port):
        self.target = port
        self.accepted = 0
        self._forgotten = 0
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self):
        """Connections so far lead nowhere from now on; new ones do."""
        self._forgotten = self.accepted

    def close(self):
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                number = self.accepted
                self.accepted += 1
                server = socket.create_connection(("127.0.0.1", self.target))
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(one, other, number), daemon=True).start()

    def _pass(self, one, other, number):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if number >= self._forgotten:
                    other.sendall(data)
        for sock in (one, other):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
