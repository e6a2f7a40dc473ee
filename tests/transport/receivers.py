"""Receivers to call: an HTTP server on loopback, with TLS or without, and one that does what it likes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gateway.transport import Target

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What came; the names of `headers` are in lower case; `connection` is the same for those of one connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


Reply = tuple[int, Mapping[str, str], bytes]


class Receiver(ThreadingHTTPServer):
    """Answers what `answer` makes of a request, and keeps the requests."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        super().__init__((LOCALHOST, 0), _Handler)
        self.answer = answer
        self.requests: list[Request] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is nothing to report."""

    def target(self, path: str = "/", *, name: str | None = None, **kept: Any) -> Target:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        options = {"loopback": True, "timeout": 20.0} | kept
        return Target(f"{scheme}://{name or LOCALHOST}:{self.server_port}{path}", **options)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Receiver

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, self.path, headers, body, self.client_address[1])
        self.server.requests.append(request)
        status, answered, data = self.server.answer(request)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **answered}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST  # noqa: N815 - so it is called by http.server

    def log_message(self, *args: Any) -> None:
        pass


def ok(request: Request) -> Reply:
    return 200, {"Content-Type": "application/fhir+json; fhirVersion=4.0"}, b"{}"


@contextmanager
def receiver(answer: Callable[[Request], Reply] = ok, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    server = Receiver(answer)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[Target]:
    """Whom `serve` answers for, one connection after the other."""
    current: list[socket.socket] = []
    with socket.create_server((LOCALHOST, 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        current[:] = [connection]
                        serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Target(f"http://{LOCALHOST}:{listening.getsockname()[1]}/", timeout=20.0, loopback=True)
        finally:
            for each in (listening, *current):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    """One request that has a Content-Length of up to a few kilobytes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < length:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(65536)
    if not more:
        raise ConnectionResetError
    return more
