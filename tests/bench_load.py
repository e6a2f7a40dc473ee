"""The load of the benchmark: light clients that keep their connections, each message new, in a process of its own."""

import itertools
import multiprocessing
import os
import re
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.fhir import xml
from tests.live import FHIR_JSON, FHIR_XML
from tests.orders import PLACE, Order, Resource, header_of, medium_order

SIZES = {"small": lambda: Order(PLACE).new_order(), "medium": medium_order}
FORMATS = {"json": FHIR_JSON, "xml": FHIR_XML}
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_OK = {FHIR_JSON: b'"code":"ok"', FHIR_XML: b'<code value="ok"/>'}
_WARM_UP = 40


@dataclass(frozen=True)
class Template:
    """The bytes of a message, and what is to be replaced in them to make it a new one of the same length."""

    body: bytes
    content_type: str
    bundle_id: bytes
    header_id: bytes

    def fresh(self) -> bytes:
        body = self.body.replace(self.bundle_id, str(uuid.uuid4()).encode())
        body = body.replace(self.header_id, str(uuid.uuid4()).encode())
        return body.replace(PLACE.encode(), uuid.uuid4().hex[: len(PLACE)].encode())


def template(size: str, format_name: str) -> Template:
    message: Resource = SIZES[size]()
    body = orjson.dumps(message) if format_name == "json" else xml.serialize(message)
    return Template(body, FORMATS[format_name], message["id"].encode(), header_of(message)["id"].encode())


@dataclass(frozen=True)
class Load:
    """What came of a load: the seconds each message took, in all, and the CPU seconds that the clients used."""

    latencies: list[float]
    seconds: float
    cpu: float


class Connection:
    """One connection to the gateway that posts one message after the other. Raises AssertionError at any but an ok."""

    def __init__(self, port: int, template: Template) -> None:
        self._template = template
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /fhir/$process-message HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: {template.content_type}\r\nContent-Length: {len(template.body)}\r\n\r\n"
        ).encode()

    def post(self) -> float:
        """Posts a new message; returns the seconds until all of its answer was there."""
        request = self._head + self._template.fresh()
        started = time.perf_counter()
        self._socket.sendall(request)
        answer = self._read()
        took = time.perf_counter() - started
        assert answer.startswith(b"HTTP/1.1 200"), answer[:2000]
        assert _OK[self._template.content_type] in answer, answer[:2000]
        return took

    def _read(self) -> bytes:
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive()
        found = _LENGTH.search(answer, 0, end)
        assert found, answer[:2000]
        missing = end + 4 + int(found[1]) - len(answer)
        while missing > 0:
            more = self._receive()
            answer, missing = answer + more, missing - len(more)
        return answer

    def _receive(self) -> bytes:
        received = self._socket.recv(262_144)
        assert received, "the connection was closed"
        return received

    def close(self) -> None:
        self._socket.close()


class Clients:
    """Clients in a process of their own, connected and warmed up; `run` has them post for so many seconds."""

    def __init__(self, port: int, template: Template, connections: int, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, port, template, connections, seconds), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def run(self) -> Load:
        """Raises EOFError when a client failed; what failed is on standard error."""
        self._pipe.send("go")
        load: Load = self._pipe.recv()
        self._process.join()
        return load


def _run(pipe: Any, port: int, template: Template, connections: int, seconds: float) -> None:
    clients = [Connection(port, template) for _ in range(connections)]
    for client in itertools.islice(itertools.cycle(clients), _WARM_UP):
        client.post()
    pipe.send("ready")
    pipe.recv()
    cpu, started = _cpu(), time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        latencies = list(pool.map(lambda client: _post_until(client, started + seconds), clients))
    pipe.send(Load([one for each in latencies for one in each], time.perf_counter() - started, _cpu() - cpu))


def _post_until(client: Connection, end: float) -> list[float]:
    latencies = []
    while time.perf_counter() < end:
        latencies.append(client.post())
    client.close()
    return latencies


def _cpu() -> float:
    times = os.times()
    return times.user + times.system
