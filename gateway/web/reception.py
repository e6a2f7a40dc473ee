"""Gunicorn's worker that spends no thread on a sender: a request gets one when all of it has come.

The loop that accepts connections takes requests in, each up to its end, without waiting for any; who takes too long is
answered 408. Only then does one of the threads read it, out of memory: however many senders are slow, the threads are
free for the others. A connection that is to be closed waits for its client here too, not in the way of the loop.

One kind of request is too large for that, the files of a replay. Its head is handed over, and an administrator's thread
reads the rest of it where it comes; whoever is none is refused without anything being read.
"""

from __future__ import annotations

import errno
import re
import selectors
import ssl
import time
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import errors, get_parser  # type: ignore[import-untyped]
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from gateway import metrics, settings
from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.outcome import operation_outcome
from gateway.web.framing import MOST_HEAD, Framing
from gateway.web.incoming import Incoming, TooMuchError

log = structlog.get_logger()

HEAD_SECONDS = 10.0
"""For the request line and the headers, from their first byte or from when the connection was made, if the setting
`body_timeout` is not less."""
SEND_SECONDS = 30.0
"""For an answer to be taken by who asked for it."""
LINGER_SECONDS = 2.0
"""For a client to close a connection that is closed here; what it still sends is thrown away."""
FREE = 64 * 1024
"""Bytes that every request may hold, however much the others do."""

_PIECE = 128 * 1024
_LOOK_SECONDS = 0.25
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _answer(status: str, issue: Issue, *headers: str) -> bytes:
    body = json.serialize(operation_outcome([issue]))
    named = ("Content-Type: application/fhir+json; charset=utf-8", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join((f"HTTP/1.1 {status}", *named, *headers, "", "")).encode() + body


_LATE = _answer(
    "408 Request Timeout",
    Issue("timeout", "The headers have not come in the time there is for them. Send the request again, faster."),
)
_LONG_HEAD = _answer(
    "431 Request Header Fields Too Large",
    Issue("too-long", f"The headers are more than {MOST_HEAD} bytes. Send shorter ones, or fewer."),
)
_FULL = _answer(
    "503 Service Unavailable",
    Issue("transient", "The gateway is taking in as much as it can hold. Send it again, unchanged, later."),
    "Retry-After: 5",
)


_REFUSALS: tuple[tuple[type[Exception], str], ...] = (
    (errors.LimitRequestLine, "414 URI Too Long"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large"),
    (errors.ExpectationFailed, "417 Expectation Failed"),
    (errors.UnsupportedTransferCoding, "501 Not Implemented"),
    (errors.ParseException, "400 Bad Request"),
)
"""What gunicorn's parser refuses, the first that fits, and how that is answered."""


_UPLOAD = re.compile(rb"POST /admin/replays(\?[^ ]*)? HTTP/1\.[01]\r\n")
_OF_JSON = re.compile(rb"\r\ncontent-type[ \t]*:[^\r]*application/json", re.IGNORECASE)


def is_upload(head: bytes) -> bool:
    """Whether a request brings files to be replayed: `comes_as_it_is_read` of the API of administrators."""
    return _UPLOAD.match(head) is not None and _OF_JSON.search(head) is None


def _most_chunking(framing: Framing) -> int:
    """Bytes that chunks may take beside what they carry: reading very many that carry next to nothing takes seconds."""
    return FREE + framing.data // 8


class Connection(TConn):  # type: ignore[misc]
    """One connection: what comes in on it, and a close that does not wait."""

    def __init__(self, worker: Worker, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.incoming = Incoming()
        self.parser = get_parser(self.cfg, self.incoming, self.client)
        self.data_ready = True
        self.needs_handshake = isinstance(self.sock, ssl.SSLSocket)
        self._worker = worker

    def init(self) -> None:
        """In the thread, before a request is read."""
        super().init()
        self.sock.settimeout(SEND_SECONDS)

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self)
        else:
            util.close(self.sock)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Overrides where gunicorn hands a connection to a thread, accepts one, and looks after those that wait."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        in_force = settings.load()
        self._most = in_force.max_message_bytes
        self._body_seconds = in_force.body_timeout
        self._head_seconds = min(HEAD_SECONDS, in_force.body_timeout)
        self._budget = self._most * in_force.web_threads
        self._held = 0
        self._waiting: dict[Connection, None] = {}
        self._lingering: dict[Connection, float] = {}
        self._next_look = 0.0
        self._tls: ssl.SSLContext | None = None

    # --- what gunicorn calls, all of it in its loop -------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Takes a connection, and waits for its first request."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        if self.cfg.is_ssl:
            sock = self._wrapped(sock)
        self.enqueue_req(Connection(self, self.cfg, sock, client, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        """Waits until a request is whole, where gunicorn would have a thread wait for it."""
        conn.incoming.put_back(conn.parser.unreader.take_buffered())
        conn.sock.setblocking(False)
        conn.incoming.begin(time.monotonic())
        self._waiting[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._take_in, conn))
        self._take_in(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Has the connection wait for its next request, which may have come with the last, or closes it."""
        self._count(conn, -conn.incoming.counted)
        super().finish_request(conn, fs)
        if conn.incoming.held and conn in self.keepalived_conns:
            self.on_client_socket_readable(conn, conn.sock)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """In a thread. What comes after a request that was cut off, or has no end, is no request."""
        if conn.incoming.cut is not None or conn.incoming.source is not None:
            req.force_close()
        kept: bool = super().handle_request(req, conn)
        return kept and not conn.incoming.is_dry

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answers what is no request as the gateway reads HTTP, as everything else is answered: with an outcome."""
        status = next((status for kind, status in _REFUSALS if isinstance(exc, kind)), None)
        if status is None:
            super().handle_error(req, client, addr, exc)
            return
        log.warning("no request", cause=type(exc).__name__)
        metrics.answered("none", int(status[:3]), 0.0)
        said = " ".join(re.findall("[A-Z][a-z]+", type(exc).__name__)).lower()
        text = f"This is not HTTP/1.1 as the gateway reads it: {said}. Correct the request line or the headers."
        with suppress(OSError):
            util.write(client, _answer(status, Issue("invalid", text)))

    def murder_pending(self) -> None:
        """Called at each turn of the loop, at least once a second: looks after the slow, and makes room."""
        super().murder_pending()
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        for conn in [*self._waiting]:
            if not self.alive and not conn.incoming.held:
                self._drop(conn)
            elif conn.incoming.is_late(now, self._head_seconds, self._body_seconds):
                self._give_up(conn)
        for conn, until in [*self._lingering.items()]:
            if now >= until:
                self._let_go(conn)

    # --- taking in ----------------------------------------------------------------------------------------------------

    def _wrapped(self, sock: Any) -> ssl.SSLSocket:
        """The socket under TLS, whose handshake is made as its bytes come: nobody waits for a client's."""
        if self._tls is None:
            self._tls = ssl_context(self.cfg)
        assert self._tls is not None
        return self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _take_in(self, conn: Connection, _sock: object = None) -> None:
        incoming = conn.incoming
        if not incoming.is_whole():
            try:
                if conn.needs_handshake:
                    conn.sock.do_handshake()
                    conn.needs_handshake = False
                data = conn.sock.recv(_PIECE)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                return
            except OSError:
                self._drop(conn)
                return
            if not data:
                self._end(conn)
                return
            incoming.take_in(data)
            self._count(conn, len(data))
        if incoming.is_whole():
            self._hand_over(conn)
        elif incoming.framing.head and is_upload(bytes(incoming.held[: incoming.framing.head])):
            incoming.source = conn.sock
            self._hand_over(conn)
        else:
            self._bound(conn)

    def _bound(self, conn: Connection) -> None:
        incoming, framing = conn.incoming, conn.incoming.framing
        length = max(framing.least, len(incoming.held)) - framing.head
        if not framing.head:
            if len(incoming.held) > MOST_HEAD:
                self._refuse(conn, 431, _LONG_HEAD)
        elif length > self._most + framing.is_chunked * (self._most + FREE) or framing.chunking > _most_chunking(
            framing
        ):
            self._hand_over(conn, TooMuchError)
        elif self._held > self._budget and len(incoming.held) > FREE:
            self._refuse(conn, 503, _FULL)
        elif framing.take_expectation(incoming.held):
            self._send(conn, _CONTINUE)

    def _end(self, conn: Connection) -> None:
        """The client sends no more: what it began is read as far as it came."""
        if conn.incoming.held:
            self._hand_over(conn)
        else:
            self._drop(conn)

    def _give_up(self, conn: Connection) -> None:
        if conn.incoming.framing.head:
            self._hand_over(conn, TimeoutError)
        elif conn.incoming.held:
            self._refuse(conn, 408, _LATE)
        else:
            self._drop(conn)

    def _hand_over(self, conn: Connection, cut: type[OSError] | None = None) -> None:
        self._leave(conn)
        conn.incoming.hand_over(cut)
        super().enqueue_req(conn)

    def _refuse(self, conn: Connection, status: int, answer: bytes) -> None:
        """Answers a request that no thread will see, and ends the connection."""
        metrics.answered("none", status, 0.0)
        self._leave(conn)
        self._send(conn, answer)
        self._count(conn, -conn.incoming.counted)
        self.nr_conns -= 1
        self.linger(conn)

    def _drop(self, conn: Connection) -> None:
        self._leave(conn)
        self._count(conn, -conn.incoming.counted)
        self.nr_conns -= 1
        conn.close()

    def _leave(self, conn: Connection) -> None:
        del self._waiting[conn]
        self.poller.unregister(conn.sock)

    def _make_room(self) -> None:
        """Gives up the connection that has waited longest, for its first or for its next request."""
        if self._waiting:
            self._drop(next(iter(self._waiting)))
        elif self.keepalived_conns:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()

    def _count(self, conn: Connection, size: int) -> None:
        conn.incoming.counted += size
        self._held += size

    def _send(self, conn: Connection, data: bytes) -> None:
        """Sends what is small enough for an empty socket; a client that has filled it gets nothing."""
        with suppress(OSError):
            conn.sock.send(data)

    # --- closing ------------------------------------------------------------------------------------------------------

    def linger(self, conn: Connection) -> None:
        """Closes our side, and the whole when the client has closed its own or has had its time for that.

        A connection that is closed with something unread is reset, and the answer may be lost with it
        (https://www.rfc-editor.org/rfc/rfc9112#section-9.6).
        """
        self.nr_conns += 1
        self._lingering[conn] = time.monotonic() + LINGER_SECONDS
        try:
            conn.sock.shutdown(1)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._throw_away, conn))
        except (OSError, ValueError):
            self._let_go(conn)
            return
        if not self.alive:
            self._let_go(conn)

    def _throw_away(self, conn: Connection, _sock: object = None) -> None:
        try:
            if conn.sock.recv(_PIECE):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._let_go(conn)

    def _let_go(self, conn: Connection) -> None:
        del self._lingering[conn]
        with suppress(KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        util.close(conn.sock)
