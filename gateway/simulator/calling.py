"""The way from a played partner to the gateway: what is posted is sent again, unchanged, until it is answered."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from gateway.errors import Refused
from gateway.fhir import formats
from gateway.fhir.json import Resource
from gateway.simulator.reading import response_of
from gateway.transport import Credentials, Target, Transport

Format = Literal["json", "xml"]
_ANYWHERE = ("0.0.0.0/0", "::/0")
_MOST_POLLED = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What the gateway has answered: the status of HTTP (None: nothing, each time), and what was in the body.

    `code` is that of a response message; for want of one `ok` for 2xx, `fatal-error` for 4xx, else `transient-error`.
    """

    status: int | None
    resource: Resource | None
    code: str
    tries: int
    detail: str


class Gateway:
    """The gateway at a base address (`http://127.0.0.1:8080/fhir`). `party` is what the partner calls itself in the
    header X-Party of a sandbox; with credentials it proves who it is."""

    def __init__(
        self,
        base: str,
        party: str,
        credentials: Credentials | None = None,
        *,
        wire_format: Format = "json",
        timeout: float = 60.0,
        tries: int = 8,
    ) -> None:
        self.base = base.rstrip("/").removesuffix("/$process-message")
        self.format: Format = wire_format
        self._media_type = f"application/fhir+{wire_format}"
        self._headers = {"X-Party": party, "Accept": self._media_type}
        self._credentials = credentials or Credentials()
        if self._credentials.kind != "none":
            del self._headers["X-Party"]
        self._timeout, self._tries = timeout, tries
        self._transport = Transport(user_agent="fhir-gateway simulate")
        self._closing = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"{self.base}/$process-message"

    def write(self, message: Resource) -> bytes:
        return formats.serialize(message, self.format)

    def send(self, body: bytes, *, asynchronous: bool = False) -> Answered:
        """Posts a message, the same bytes again while there is no answer, or one that says to try again later."""
        pause, url = _FIRST_PAUSE, self.endpoint + ("?async=true" if asynchronous else "")
        answered = Answered(None, None, "transient-error", 0, "nothing was sent")
        for number in range(1, self._tries + 1):
            answer = self._transport.post(self._target(url), body, self._media_type, self._headers)
            resource = parse(answer.body, answer.media_type)
            answered = Answered(answer.status, resource, _code(answer.status, resource), number, answer.detail)
            if answered.code != "transient-error" or answer.outcome == "forbidden" or number == self._tries:
                break
            wait = answer.retry_after if answer.retry_after is not None else pause * random.uniform(1, 1.5)
            if self._closing.wait(min(wait, _LONGEST_PAUSE)):
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
        return answered

    def get(self, url: str) -> Resource | None:
        """A resource, by its address or by `Type/id`; None where there is none."""
        address = url if "://" in url else f"{self.base}/{url}"
        answer = self._transport.get(self._target(address), self._headers)
        return parse(answer.body, answer.media_type) if answer.outcome == "delivered" else None

    def poll(self) -> list[Resource]:
        """What waits for the partner. It comes again until it is acknowledged."""
        answer = self._transport.get(self._target(f"{self.base}/{quote('$poll')}?count={_MOST_POLLED}"), self._headers)
        collected = parse(answer.body, answer.media_type) if answer.outcome == "delivered" else None
        entries = collected.get("entry", []) if collected else []
        return [entry["resource"] for entry in entries if isinstance(entry.get("resource"), dict)]

    def acknowledge(self, ids: Sequence[str]) -> bool:
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": one} for one in ids]}
        target = self._target(f"{self.base}/{quote('$acknowledge')}")
        body = formats.serialize(parameters, self.format)
        return self._transport.post(target, body, self._media_type, self._headers).outcome == "delivered"

    def close(self) -> None:
        """Ends: what waits to be sent again is given up."""
        self._closing.set()
        self._transport.close()

    def _target(self, url: str) -> Target:
        return Target(url, self._timeout, networks=_ANYWHERE, loopback=True, credentials=self._credentials)


def parse(body: bytes, media_type: str | None) -> Resource | None:
    """The resource in a body; None where there is none that can be read."""
    if not body.strip():
        return None
    try:
        return formats.parse(body, formats.format_of(media_type or ""))
    except Refused:
        return None


def _code(status: int | None, resource: Resource | None) -> str:
    response = response_of(resource)
    if response is not None:
        return response[1]
    if status is None or status >= 500 or status in (408, 425, 429):
        return "transient-error"
    return "ok" if status < 300 else "fatal-error"
