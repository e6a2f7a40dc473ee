"""Clients of the crash run: they send messages about their orders, again and again until each is answered, and write
down what they were told and what must have come of it."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import orjson

from gateway.fhir import xml
from tests import validity
from tests.live import FHIR_JSON, FHIR_XML
from tests.orders import HOSPITAL, Order, Resource, focus_of, header_of, response_code
from tests.terms import ORDERS

ORDERS_AT_ONCE = 3
STRANGER = "NOBODY-9", "urn:demo:nobody"
_ERROR = "entered-in-error"
_XML_CODE = re.compile(rb'<response>.*?<code value="([a-z-]+)"/>', re.DOTALL)


@dataclass(eq=False)
class Sent:
    """A message: what must come of it (`code`; the order's `status`, if it makes a version), and what came back."""

    order: str
    header_id: str
    body: bytes
    content_type: str
    code: str
    status: str | None
    later: bool
    acknowledged: bool = False
    answers: set[bytes] = field(default_factory=set)


@dataclass(eq=False)
class OrderLog:
    """An order, the messages about it in the order in which they were sent, and how its cancellation must end."""

    number: str
    sent: list[Sent] = field(default_factory=list)
    cancellation: str | None = None


class Ledger:
    """All that was sent and answered, by all clients, and what should not have been answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.orders: list[OrderLog] = []
        self.sent: list[Sent] = []
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def open(self, order: OrderLog) -> None:
        with self._lock:
            self.orders.append(order)

    def add(self, order: OrderLog, sent: Sent) -> None:
        with self._lock:
            order.sent.append(sent)
            self.sent.append(sent)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def answered(self, sent: Sent, reply: bytes, code: str) -> None:
        """A final answer: it must be the one expected, and the same each time."""
        with self._lock:
            self.counts[code] += 1
            sent.acknowledged = True
            sent.answers.add(reply)
            if code != sent.code:
                self.violations.append(f"{sent.header_id}: {code}, not {sent.code}: {reply[-600:]!r}")

    def violated(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)

    def any_earlier(self) -> Sent | None:
        """A message that somebody has sent or is sending now; rather a late one."""
        with self._lock:
            return random.choice(self.sent[-200:]) if self.sent else None


class Client:
    """Sends messages about some orders at a time, until it is told to stop and the last has its answer."""

    def __init__(self, endpoint: str, ledger: Ledger, stop: threading.Event, seed: int) -> None:
        self._endpoint = endpoint
        self._ledger = ledger
        self._stop = stop
        self._random = random.Random(seed)
        self._http = validity.client(timeout=60)

    def run(self) -> None:
        walks: list[Iterator[tuple[OrderLog, Sent]]] = []
        while not self._stop.is_set():
            while len(walks) < ORDERS_AT_ONCE:
                walks.append(_walk(OrderLog(Order().number), self._ledger, self._random))
            walk = self._random.choice(walks)
            step = next(walk, None)
            if step is None:
                walks.remove(walk)
                continue
            self._ledger.add(*step)
            self.send(step[1])
            if self._random.random() < 0.2 and (earlier := self._ledger.any_earlier()):
                self._ledger.count("repeats")
                self._post(earlier, later=False)

    def send(self, sent: Sent) -> None:
        """Sends a message again, unchanged, until it is answered for good or custody is taken."""
        while not self._post(sent, later=sent.later):
            time.sleep(self._random.uniform(0.05, 0.5))

    def close(self) -> None:
        self._http.close()

    def send_again(self, sent: Sent) -> None:
        """Sends what was sent before once more; now its answer is waited for, however it was wanted then."""
        while not self._post(sent, later=False):
            time.sleep(self._random.uniform(0.05, 0.5))

    def _post(self, sent: Sent, *, later: bool) -> bool:
        self._ledger.count("posts")
        try:
            answer = self._http.post(
                self._endpoint,
                content=sent.body,
                params={"async": "true", "response-url": "http://127.0.0.1:9/"} if later else None,
                headers={"Content-Type": sent.content_type},
            )
        except httpx.TransportError:
            self._ledger.count("no answer")
            return False
        except AssertionError as objections:
            self._ledger.violated(f"{sent.header_id}: {objections}")
            return True
        return self._read(sent, answer, later=later)

    def _read(self, sent: Sent, answer: httpx.Response, *, later: bool) -> bool:
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self._ledger.count(str(answer.status_code))
            if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                self._ledger.violated(f"{sent.header_id}: 500: {answer.text[:600]}")
            return False
        if later and answer.status_code == httpx.codes.ACCEPTED:
            self._ledger.count("202")
            sent.acknowledged = True
            return True
        if answer.status_code != httpx.codes.OK:
            self._ledger.violated(f"{sent.header_id}: {answer.status_code}: {answer.text[:600]}")
            return True
        code = _code(answer.content, sent.content_type)
        if code == "transient-error":
            self._ledger.count(code)
            return False
        self._ledger.answered(sent, answer.content, code)
        return True


def _code(reply: bytes, content_type: str) -> str:
    if content_type == FHIR_JSON:
        return response_code(reply)
    found = _XML_CODE.search(reply)
    assert found, reply
    return found[1].decode()


def _walk(log: OrderLog, ledger: Ledger, chance: random.Random) -> Iterator[tuple[OrderLog, Sent]]:
    """An order's life, one message at a time: the next one is made when the one before has been answered."""
    order = Order(log.number)
    ledger.open(log)

    def step(message: Resource, code: str, status: str | None) -> tuple[OrderLog, Sent]:
        return log, _sent(log.number, message, code, status, chance)

    status = chance.choice(["requested", "ready"])
    yield step(order.new_order(status), "ok", status)
    while not ORDERS.is_final(status):
        if chance.random() < 0.08:
            yield step(order.new_order(), "fatal-error", None)
        elif chance.random() < 0.08:
            yield step(order.update("draft"), "fatal-error", None)
        elif chance.random() < 0.08:
            yield step(order.update(status, STRANGER, description="Nobody's"), "fatal-error", None)
        elif chance.random() < 0.1:
            yield step(order.update(status, HOSPITAL, description=f"As discussed: {uuid4()}"), "ok", status)
        elif log.cancellation is None and chance.random() < 0.15:
            began = status in ORDERS.on_request
            log.cancellation = "requested" if began else "completed"
            status = status if began else "cancelled"
            yield step(order.cancellation_request(), "ok", None if began else status)
        elif log.cancellation == "requested" and chance.random() < 0.4:
            accepted = chance.random() < 0.5
            log.cancellation = "completed" if accepted else "rejected"
            status = "cancelled" if accepted else status
            answer = "accepted" if accepted else "rejected"
            yield step(order.cancellation_request(answer), "ok", status if accepted else None)
        else:
            status = chance.choice([other for other in ORDERS.allowed(status) if other != _ERROR])
            if ORDERS.is_final(status) and log.cancellation == "requested":
                log.cancellation = "rejected"
            yield step(order.update(status), "ok", status)
    yield step(order.update("in-progress"), "fatal-error", None)


def _sent(number: str, message: Resource, code: str, status: str | None, chance: random.Random) -> Sent:
    as_xml = chance.random() < 0.25
    body = xml.serialize(message) if as_xml else orjson.dumps(message)
    header: dict[str, Any] = header_of(message)
    assert focus_of(message)["resourceType"] == "Task"
    later = chance.random() < 0.15
    return Sent(number, header["id"], body, FHIR_XML if as_xml else FHIR_JSON, code, status, later)
