"""An identity provider's HTTP server, which does as a test says: the key set and the document of
OpenID Connect discovery."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JWKS = "/realms/im/jwks.json"
DISCOVERY = "/realms/im/.well-known/openid-configuration"


class IdentityProvider:
    """Serves a key set, over HTTPS where it has an authority's certificate."""

    def __init__(self, *keys, authority=None):
        self.keys = list(keys)
        self.tls = None
        if authority:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            cert, key, _ = authority.issue("identity-provider")
            self.tls.load_cert_chain(cert, key)
        self.requests = []
        self.headers = []
        self.answer = None
        self.delay = 0
        self.cache_control = None
        self.document = {}
        self.port = 0
        self._server = None
        self.start()

    def start(self):
        """Listens, at the port from before if it was stopped."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                provider._serve(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if self.tls:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Refuses connections."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def base(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def issuer(self):
        return f"{self.base}/realms/im"

    @property
    def url(self):
        return f"{self.base}{JWKS}"

    def fetches(self):
        """How often the key set was asked for."""
        return self.requests.count(JWKS)

    def _serve(self, handler):
        self.requests.append(handler.path)
        self.headers.append(dict(handler.headers))
        time.sleep(self.delay)
        document = {"issuer": self.issuer, "jwks_uri": self.url, **self.document}
        body = json.dumps(document if handler.path == DISCOVERY else {"keys": self.keys}).encode()
        status, headers = 200, {}
        if self.answer and handler.path != DISCOVERY:
            status, headers, body = self.answer
        if self.cache_control:
            headers = {"Cache-Control": self.cache_control, **headers}
        try:
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:
            handler.close_connection = True
