"""A reverse proxy in front of an app, as operators have one: with TLS and below a path if need be. Or a server that is no app at all."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

Answer = tuple[int, str, bytes]  # status, content type, body


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not like our certificate is none of the test's business."""


@contextmanager
def served(
    answer: Callable[[BaseHTTPRequestHandler], Answer], *, certificate: Path | None = None, port: int = 0
) -> Iterator[str]:
    """The address of a server on this machine for the time of the block. `certificate`: NAME.pem beside NAME.key."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            status, kind, body = answer(self)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _do

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", port), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def forward(app: str, below: str = "") -> Callable[[BaseHTTPRequestHandler], Answer]:
    """To the app at that address, what comes below the path."""
    to = urlsplit(app).netloc

    def answer(asked: BaseHTTPRequestHandler) -> Answer:
        assert asked.path.startswith(below + "/"), asked.path
        connection = http.client.HTTPConnection(to, timeout=20)
        try:
            body = asked.rfile.read(int(asked.headers.get("content-length") or 0))
            headers = {name: value for name, value in asked.headers.items() if name.lower() != "host"}
            connection.request(asked.command, asked.path.removeprefix(below), body or None, headers)
            got = connection.getresponse()
            return got.status, got.getheader("content-type") or "", got.read()
        finally:
            connection.close()

    return answer
