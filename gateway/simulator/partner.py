"""What placers and fulfillers that are played have in common: who they are, what they hear, and how they speak."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.fhir.json import Resource
from gateway.fhir.message import instant
from gateway.simulator import reading, templates
from gateway.simulator.agenda import Agenda
from gateway.simulator.calling import Answered, Gateway, parse
from gateway.simulator.faults import Faults
from gateway.simulator.receiver import Received, Reply

Log = Callable[[str], object]
_NOTIFICATIONS = ("history", "subscription-notification")
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Who is played: its name, its business identifier (`system|value`), its `MessageHeader.source.endpoint`."""

    name: str
    identifier: str
    endpoint: str
    dialect: str = "cow"

    def values(self, whose: str) -> dict[str, str]:
        system, _, value = self.identifier.rpartition("|")
        own = {"name": self.name, "system": system, "value": value, "endpoint": self.endpoint}
        return {f"{whose}.{name}": each for name, each in own.items()}


class Partner:
    """Hears and says. `told` is for a kind of partner to do something with what it is told, once each.

    `log` gets a line for each message in and out, without what is in it; with `record` their bytes are kept there.
    `tally` counts what happened.
    """

    def __init__(
        self,
        part: Part,
        gateway: Gateway,
        faults: Faults | None = None,
        log: Log = lambda _: None,
        record: Path | None = None,
    ) -> None:
        self.part = part
        self.gateway = gateway
        self.faults = faults or Faults()
        self.words = reading.read_words(part.dialect)
        self.tally: Counter[str] = Counter()
        self.agenda = Agenda(_THREADS, self._failed)
        self._log, self._record = log, record
        self._lock = threading.RLock()
        self._heard: set[str] = set()
        self._closing = threading.Event()
        self._numbers = 0
        if record is not None:
            record.mkdir(parents=True, exist_ok=True)

    def told(self, message: Resource) -> None:
        """One message, for the first time. Called for one at a time."""
        raise NotImplementedError

    def close(self) -> None:
        self._closing.set()
        self.agenda.close()
        self.gateway.close()

    # --- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, received: Received) -> None:
        """Something posted: for `Receiver(hear=…)`."""
        self._hear(parse(received.body, received.headers.get("content-type")), received.body)

    def answer(self, received: Received, is_wrong: bool) -> Reply:
        """The answer to something posted: a response message where the network has one. For `Receiver(answer=…)`."""
        message = parse(received.body, received.headers.get("content-type"))
        if message is None:
            return Reply(400)
        header = reading.header_of(message)
        is_message = bool(header) and reading.response_of(message) is None
        if not is_message or "response" not in templates.names(self.part.dialect):
            return Reply()
        quoted = self.words.quoted(message)
        body = self.gateway.write(
            self.compose(
                templates.load(self.part.dialect, "response"),
                {"quoted": str(uuid.uuid4()) if is_wrong else quoted, **_event(header)},
            )
        )
        return Reply(media_type=f"application/fhir+{self.gateway.format}", body=body)

    def poll(self, seconds: float) -> None:
        """Fetches what waits for it every so many seconds, until it is closed. Does not return before."""
        while not self._closing.wait(seconds):
            done = []
            for message in self.gateway.poll():
                drawn = self.faults.draw_answering()
                if drawn.status is not None or "drop" in drawn:
                    continue
                self._hear(message, self.gateway.write(message))
                if not {"half", "garbage"} & drawn.names:
                    done += [one for one in (message.get("id"), reading.header_of(message).get("id")) if one][:1]
            if done:
                self.gateway.acknowledge(done)

    def _hear(self, message: Resource | None, body: bytes) -> None:
        if message is None:
            self.note("told what cannot be read")
            return
        self.keep("in", body)
        if message.get("type") in _NOTIFICATIONS:
            self.agenda.at(0, lambda: self._fetch(message))
            return
        with self._lock:
            bundle_id = message.get("id")
            if bundle_id in self._heard:
                self.note("told again", str(bundle_id))
                return
            if isinstance(bundle_id, str):
                self._heard.add(bundle_id)
            self.told(message)

    def _fetch(self, notification: Resource) -> None:
        """Reads what a notification is about, and takes that as a message; of a handshake or heartbeat, nothing."""
        entries = [entry for entry in notification.get("entry", [])[1:] if isinstance(entry, dict)]
        self.note("notified", f"{len(entries)} resources")
        found = [entry.get("resource") or self.gateway.get(str(entry.get("fullUrl"))) for entry in entries]
        if found:
            with self._lock:
                self.told({"resourceType": "Bundle", "entry": [{"resource": one} for one in found if one]})

    # --- saying -------------------------------------------------------------------------------------------------------

    def say(
        self,
        template: Resource,
        values: Mapping[str, str],
        what: str,
        *,
        asynchronous: bool = False,
        faults: Sequence[str] = ("late", "wrong", "twice"),
    ) -> Answered:
        """Sends a message with what goes wrong with it, of these faults; returns the answer to it.

        A wrong one goes before the right one: about an order that nobody has placed.
        """
        drawn = self.faults.draw_sending(*faults)
        if drawn.seconds:
            self._closing.wait(drawn.seconds)
        if "wrong" in drawn:
            ids = {name: str(uuid.uuid4()) for name in ("bundle", "header")}
            elsewhere = {**ids, "order.value": f"{values['order.value']}-WRONG"}
            wrong = self.gateway.send(self.gateway.write(self.compose(template, {**values, **elsewhere})))
            self.note("sent wrongly", f"{what}, {wrong.code}")
        body = self.gateway.write(self.compose(template, values))
        self.keep("out", body)
        answered = self.gateway.send(body, asynchronous=asynchronous)
        if answered.tries > 1:
            self.note("tried again", f"{what}, {answered.tries} times")
        if "twice" in drawn:
            again = self.gateway.send(body, asynchronous=asynchronous)
            differs = (again.status, again.resource) != (answered.status, answered.resource)
            self.note("answered otherwise the second time" if differs else "sent twice", what)
        status = answered.detail if answered.status is None else f"HTTP {answered.status}"
        self._log(f"{what} {values['order.value']}: {answered.code}, {status}")
        return answered

    def compose(self, template: Resource, values: Mapping[str, str]) -> Resource:
        now = datetime.now(UTC)
        own = {
            "message": str(uuid.uuid4()),
            "bundle": str(uuid.uuid4()),
            "header": str(uuid.uuid4()),
            "now": instant(now),
            "today": f"{now:%Y-%m-%d}",
            "gateway": self.gateway.endpoint,
            "us.dialect": self.part.dialect,
        }
        return templates.fill(template, {**own, **self.part.values("us"), **values})

    def note(self, what: str, more: str = "") -> None:
        """Counts what happened, and logs it."""
        with self._lock:
            self.tally[what] += 1
        self._log(f"{what}{': ' if more else ''}{more}")

    def keep(self, direction: str, body: bytes) -> None:
        if self._record is None:
            return
        with self._lock:
            self._numbers += 1
            name = f"{self._numbers:06}-{direction}.{'xml' if body.lstrip().startswith(b'<') else 'json'}"
        (self._record / name).write_bytes(body)

    def _failed(self, error: Exception) -> None:
        self.note("failed", f"{type(error).__name__}: {error}")


def _event(header: Resource) -> dict[str, str]:
    coding = header.get("eventCoding")
    said = coding if isinstance(coding, dict) else {}
    return {"event.system": str(said.get("system", "")), "event.code": str(said.get("code", ""))}
