"""One request and its answer: over a connection that is kept for the next, within a time, never more than fits."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType

import httpcore
import httpx

from gateway.transport.addresses import Guard, Resolver, check_address, parse_address, read_networks, resolve
from gateway.transport.calls import LARGEST_ANSWER, Answer, NoAnswerError, Outcome, Target
from gateway.transport.connecting import Backend, tls_context
from gateway.transport.credentials import Proofs
from gateway.transport.keeping import IDLE_SECONDS, Connections

_NONE: Mapping[str, str] = MappingProxyType({})
_LONGEST_WAIT = 86_400.0
_SHOWN = 200
_PORTS = {"http": 80, "https": 443}
_NUMBER = re.compile(r"[0-9]{1,9}")
_OK, _REDIRECTS, _REFUSALS = range(200, 300), range(300, 400), range(400, 500)
_UNAUTHORIZED, _UNAVAILABLE, _TOO_MANY = 401, 503, 429
_LATER = {408, 425}


class Transport:
    """Calls partners; for many threads, but one process: a fork makes its own.

    `most_connections` is to one origin with one set of credentials; a call that finds none free waits, within its time.
    """

    def __init__(self, *, user_agent: str, most_connections: int = 64, resolver: Resolver = resolve) -> None:
        self._user_agent = user_agent
        self._connections = Connections(most_connections)
        self._guard = Guard(resolver)
        self._proofs = Proofs(
            lambda target, body, headers, deadline: self._send("POST", target, body, headers, deadline)
        )

    def post(self, target: Target, body: bytes, media_type: str, headers: Mapping[str, str] = _NONE) -> Answer:
        return self._call("POST", target, body, {**headers, "Content-Type": media_type})

    def get(self, target: Target, headers: Mapping[str, str] = _NONE) -> Answer:
        return self._call("GET", target, None, headers)

    def close(self) -> None:
        """Closes what is idle now, and what is in use at the end of its call."""
        self._connections.close()

    def _call(self, method: str, target: Target, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        started = time.monotonic()
        try:
            answer = self._prove_and_send(method, target, body, headers, started + target.timeout)
        except NoAnswerError as error:
            detail = f"{method} {_shown(target.url)}: {error}."
            answer = Answer(error.outcome, error.status, error.retry_after, None, b"", detail, 0)
        except TimeoutError:
            detail = f"{method} {_shown(target.url)}: no whole answer within {target.timeout:g} s."
            answer = Answer("unreachable", None, None, None, b"", detail, 0)
        return replace(answer, seconds=time.monotonic() - started)

    def _prove_and_send(
        self, method: str, target: Target, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> Answer:
        wrong = check_address(target.url, target.networks, target.loopback)
        if wrong:
            raise NoAnswerError("forbidden", wrong.rstrip("."))
        proof = self._proofs.headers(target, deadline)
        answer = self._send(method, target, body, {**headers, **proof}, deadline)
        if answer.status == _UNAUTHORIZED and target.credentials.kind == "oauth":
            self._proofs.drop(target.credentials, proof)
            proof = self._proofs.headers(target, deadline)
            answer = self._send(method, target, body, {**headers, **proof}, deadline)
        return answer

    def _send(
        self, method: str, target: Target, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> Answer:
        """Raises NoAnswerError, and TimeoutError when the moment has come."""
        url = parse_address(target.url)
        own = {"Host": url.netloc.decode("ascii"), "User-Agent": self._user_agent, "Accept-Encoding": "identity"}
        if body is not None:
            own["Content-Length"] = str(len(body))
        names = {name.lower() for name in own}
        written = own | {name: value for name, value in headers.items() if name.lower() not in names}
        head: httpcore.Response | None = None
        try:
            request = _request(method, url, body, written, deadline)
            with self._connection(target, url, deadline) as connection:
                head = connection.handle_request(request)
                with closing(head):
                    return _read(head, f"{method} {_shown(target.url)}")
        except httpcore.TimeoutException:
            raise TimeoutError from None
        except (httpcore.LocalProtocolError, UnicodeError):
            raise NoAnswerError("failed", "a header that we would send is none that HTTP allows") from None
        except httpcore.RemoteProtocolError:
            if head is not None:
                raise NoAnswerError("unreachable", "the answer ends before its end", status=head.status) from None
            raise NoAnswerError("failed", "what is answered is not HTTP") from None
        except httpcore.NetworkError as error:
            raise NoAnswerError("unreachable", str(error), status=head.status if head else None) from None

    def _connection(
        self, target: Target, url: httpx.URL, deadline: float
    ) -> AbstractContextManager[httpcore.HTTPConnection]:
        """One that is shared with calls just like this one only: with the same rights, and the same files."""
        credentials = target.credentials
        files = (credentials.certificate_file, credentials.key_file, credentials.authority_file)
        stamps = tuple(_stamp(file) for file in files) if url.scheme == "https" else ()
        key = (url.scheme, url.raw_host, url.port, target.networks, target.loopback, credentials, stamps)

        def connector() -> Callable[[], httpcore.HTTPConnection]:
            return partial(
                httpcore.HTTPConnection,
                httpcore.Origin(url.raw_scheme, url.raw_host, url.port or _PORTS[url.scheme]),
                ssl_context=tls_context(credentials) if url.scheme == "https" else None,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=Backend(self._guard, url.scheme, read_networks(target.networks), target.loopback),
            )

        return self._connections.connection(key, connector, deadline)


def _request(
    method: str, url: httpx.URL, body: bytes | None, headers: Mapping[str, str], deadline: float
) -> httpcore.Request:
    """Raises UnicodeError for headers that cannot be written."""
    return httpcore.Request(
        method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()],
        content=body,
        extensions={
            "timeout": dict.fromkeys(("connect", "read", "write"), deadline),
            "sni_hostname": url.raw_host.decode("ascii").rstrip("."),
        },
    )


def _read(head: httpcore.Response, what: str) -> Answer:
    headers = {name.lower(): value.decode("latin-1").strip() for name, value in reversed(head.headers)}
    retry_after = _retry_after(headers.get(b"retry-after"))
    outcome = _outcome(head.status, retry_after)
    detail = f"{what} answered {head.status}."
    if head.status in _REDIRECTS:
        detail = f"{what} answered {head.status}, a redirect, which is not followed."
    body = bytearray()
    for part in head.iter_stream():
        body += part
        if len(body) > LARGEST_ANSWER:
            break
    data: bytes | None = bytes(body)
    if headers.get(b"content-encoding", "identity").lower() in {"gzip", "x-gzip", "deflate"}:
        data = _inflated(bytes(body))
    if data is None or len(data) > LARGEST_ANSWER:
        outcome, data = "failed", b""
        detail = f"{what} answered {head.status} with a body that is larger than {LARGEST_ANSWER} bytes."
    return Answer(outcome, head.status, retry_after, headers.get(b"content-type"), data, detail, 0)


def _inflated(body: bytes) -> bytes | None:
    """A body that was compressed though we asked for it as it is; empty if it cannot be read, None if too large."""
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        data = inflating.decompress(body, LARGEST_ANSWER + 1)
    except zlib.error:
        return b""
    return data if len(data) <= LARGEST_ANSWER else None


def _outcome(status: int, retry_after: float | None) -> Outcome:
    if status in _OK:
        return "delivered"
    if status == _TOO_MANY or (status == _UNAVAILABLE and retry_after is not None):
        return "busy"
    return "refused" if status in _REFUSALS and status not in _LATER else "failed"


def _retry_after(value: str | None) -> float | None:
    """https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3"""
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return min(float(value), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file does."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return "(no address)"
    path = parsed.raw_path.partition(b"?")[0].decode("ascii")
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}{path}"[:_SHOWN]
