"""A partner's server that answers as it is told to, and counts what it has taken."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Call:
    """One request: its path with the query, its headers (names in lower case), and what is in its body."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def bundle_id(self) -> str:
        is_json = self.body.startswith(b"{")
        bundle_id: str = orjson.loads(self.body)["id"] if is_json else self.headers["x-request-id"]
        return bundle_id


@dataclass(frozen=True)
class Script:
    """What is answered: after so many seconds, a status, headers, a body; `breaks`: cut off in the middle."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    breaks: bool = False
    garbage: bool = False

    @property
    def takes(self) -> bool:
        """Whether what was sent has taken effect: also where the answer does not arrive."""
        return 200 <= self.status < 300


OK = Script()
Answering = Callable[[Call], Script]


class Receiver:
    """`answer` is asked for each call; `effects` counts by Bundle.id what has taken effect, each once, in order."""

    def __init__(self, answer: Answering = lambda _: OK) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.effects: list[str] = []
        self.times: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    def start(self) -> None:
        """On the port that it had before, if it had one."""

        class Handler(_Handler):
            receiver = self

        _Server.allow_reuse_address = True
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more, and what is open breaks."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, call: Call) -> Script:
        with self._lock:
            self.calls.append(call)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        script = self.answer(call)
        time.sleep(script.seconds)
        with self._lock:
            self.at_once -= 1
            if script.takes:
                self.times[call.bundle_id] += 1
                if self.times[call.bundle_id] == 1:
                    self.effects.append(call.bundle_id)
        return script


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Callers go away in the middle, as they are killed."""


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.receiver.connections.add(self.connection)

    def finish(self) -> None:
        self.receiver.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        script = self.receiver.take(Call(self.path, headers, body))
        with suppress(OSError):
            self._answer(script)

    def _answer(self, script: Script) -> None:
        if script.garbage:
            self.wfile.write(b"\0\1 this is no HTTP\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(script.status)
        for name, value in script.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(script.body) + (100 if script.breaks else 0)))
        self.end_headers()
        self.wfile.write(script.body)
        self.close_connection = self.close_connection or script.breaks

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def receiving(answer: Answering = lambda _: OK) -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(answer)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
