"""A partner's HTTP server: takes what is posted, keeps it, and answers rightly or with faults."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from types import TracebackType
from typing import Self

import orjson

from gateway.simulator.faults import Drawn, Faults

LARGEST = 32 * 1024 * 1024
_MOST_KEPT = 100_000
_SECONDS = 30
_MISSING = 100


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its path with the query, its headers (names in lower case), its body.

    `is_taken` is whether it has taken effect: also where the answer does not arrive whole.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    is_taken: bool

    @property
    def bundle_id(self) -> str | None:
        """Of JSON that is a resource."""
        try:
            said = orjson.loads(self.body).get("id")
        except (ValueError, AttributeError):
            return None
        return said if isinstance(said, str) else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered where nothing goes wrong."""

    status: int = 200
    media_type: str = "application/fhir+json"
    body: bytes = b""


def _nothing(_received: Received, _is_wrong: bool) -> Reply:
    return Reply()


class Receiver:
    """Listens as long as the `with` block. `answer` is asked for the answer to what was taken, and whether it is to be
    a wrong one; `hear` is told of what was taken before it is answered."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        answer: Callable[[Received, bool], Reply] = _nothing,
        hear: Callable[[Received], object] = lambda _: None,
    ) -> None:
        self.faults = faults or Faults()
        self.answer = answer
        self.hear = hear
        self.host, self.port = host, port
        self._received: deque[Received] = deque(maxlen=_MOST_KEPT)
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._serving: threading.Thread | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/fhir/$process-message"

    @property
    def received(self) -> list[Received]:
        """All that was posted, in order: repeats, and what was refused, too."""
        with self._lock:
            return list(self._received)

    def taken(self) -> list[Received]:
        """What has taken effect, in order, each Bundle.id once."""
        first: dict[str, Received] = {}
        for number, one in enumerate(self.received):
            if one.is_taken:
                first.setdefault(one.bundle_id or f"#{number}", one)
        return list(first.values())

    def bind(self) -> None:
        """Takes its port; who calls waits until it starts. Raises OSError."""
        self._server = _Server((self.host, self.port), _Handler, self)
        self.port = self._server.server_address[1]

    def start(self) -> None:
        """Listens; after `stop` at the same port again. Raises OSError."""
        if self._server is None:
            self.bind()
        assert self._server is not None
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._serving.start()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            if self._serving is not None:
                self._server.shutdown()
            self._server.server_close()
            self._server = self._serving = None

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Drawn, Reply]:
        """Keeps what is posted; what goes wrong with its answer, and what the answer is."""
        drawn = self.faults.draw_answering()
        received = Received(path, headers, body, is_taken=drawn.status is None and "drop" not in drawn)
        with self._lock:
            self._received.append(received)
        reply = Reply(drawn.status) if drawn.status is not None else Reply()
        if received.is_taken:
            self.hear(received)
            reply = self.answer(received, "wrong" in drawn)
        time.sleep(drawn.seconds)
        return drawn, reply

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler], receiver: Receiver) -> None:
        self.receiver = receiver
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = _SECONDS

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 12 or int(length) > LARGEST:
            self.close_connection = True
            self._write(Reply(413 if length.isdecimal() else 411))
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        drawn, reply = self.server.receiver.take(self.path, headers, body)
        with suppress(OSError):
            self._answer(drawn, reply)

    def do_GET(self) -> None:
        self._write(Reply(404))

    def _answer(self, drawn: Drawn, reply: Reply) -> None:
        if "drop" in drawn:
            self.close_connection = True
        elif "garbage" in drawn:
            self.close_connection = True
            self.wfile.write(b"\0\1 this is no HTTP\r\n\r\n")
        else:
            self._write(reply, missing=_MISSING if "half" in drawn else 0)

    def _write(self, reply: Reply, missing: int = 0) -> None:
        self.send_response(reply.status)
        seconds = self.server.receiver.faults.retry_after
        if seconds is not None and reply.status in (429, 503):
            self.send_header("Retry-After", str(ceil(seconds)))
        if reply.body:
            self.send_header("Content-Type", reply.media_type)
        self.send_header("Content-Length", str(len(reply.body) + missing))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = self.close_connection or missing > 0

    def log_message(self, *_: object) -> None:
        """Says nothing: what is told is logged by who listens."""
