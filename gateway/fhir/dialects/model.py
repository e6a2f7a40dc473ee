"""What a dialect is: how a network's messages are told from each other, read as the gateway's own, and answered.

A dialect is data (`packs/*.toml`) and, where that does not do, a module with functions that have the signatures of
`Translate`, `Answering` and `Telling`: docs/dialects.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.check.levels import Level
from gateway.fhir.json import Resource
from gateway.fhir.message import Message, ResponseCode

Identity = Literal["fhir", "header", "bundle", "bundle-identifier", "request-id", "business"]
Quoted = Literal["header", "bundle", "bundle-identifier"]
Form = Literal["message", "outcome", "empty"]
Duplicate = Literal["same-answer", "refuse"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How one message is read: kept with it, so that it is read the same whenever that is.

    `headers` are the HTTP headers that its dialect looks at, names in lower case. `sender` is the partner that sent it,
    `owner` the one that carries out its orders where it does not say: each a business identifier, `system|value`.
    """

    dialect: str
    headers: Mapping[str, str] = field(default_factory=dict)
    sender: str | None = None
    owner: str | None = None

    def write(self) -> str:
        """The text to keep: see `read`."""
        said = {"dialect": self.dialect, "headers": dict(self.headers), "sender": self.sender, "owner": self.owner}
        return json.serialize({name: value for name, value in said.items() if value}).decode()

    @staticmethod
    def read(text: str) -> Manner:
        said = json.parse_own(text.encode())
        return Manner(said["dialect"], said.get("headers", {}), said.get("sender"), said.get("owner"))


@dataclass(frozen=True, slots=True)
class Composed:
    """The answer as the gateway itself gives it: the message of R4, its code, what it says, what is in its focus."""

    reply: Resource
    code: ResponseCode
    issues: Sequence[Issue]
    focus: Sequence[Resource]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in a dialect: the status of HTTP, and what is in the body, in R4; None: nothing is."""

    status: int
    resource: Resource | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a message of a network means here: `means` is an event of ours, `response`, or `keep` (without effect).

    It fits where each condition that it has does: the event, a coding of the reason, something in focus with this type,
    status, code and business status, a coding of the Provenance's activity, whether it has a response. A code is
    `system|code` or the code alone; `*` at one end of it stands for anything.
    """

    means: str
    translation: str
    event: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    focus: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    business_status: tuple[str, ...] = ()
    activity: tuple[str, ...] = ()
    response: bool | None = None
    becomes: str | None = None
    identifier: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Replies:
    """The form and the status of HTTP of the answers: done, refused, and to be sent again.

    `statuses` has the status of a refusal by the code of its first error, or by the code of that one's outcome.
    """

    form: Form = "message"
    status: int = 200
    refused_form: Form = "message"
    refused_status: int = 200
    retry_status: int = 200
    statuses: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


Understand = Callable[[Message, Manner], Message]
"""The message as the gateway's own, its `sent` as it was; with a `refusal` where the dialect has no such message."""
Translate = Callable[[Message, Manner, Rule], Message]
"""What a rule makes of a message that it fits. Raises Refused with what keeps it from being translated."""
Answering = Callable[[Message, Composed], Answer]
"""The answer to a message in its sender's words."""
Telling = Callable[[Resource], Resource | None]
"""A message of R4 that tells a partner of a change, in its words; None: it has none for that, and is not told."""


@dataclass(frozen=True, slots=True)
class Pack:
    """What a file says of a dialect; docs/dialects.md has what each key means.

    `retry_schedule`: seconds; empty: the gateway's own. `checking`: levels of the checks, by rule. `holds`: whether a
    request to cancel an order that is not known waits for it. `acknowledged`: the status with which a message is taken
    into custody. `acknowledgements`: 1, or 2 where that of custody is a message too. `expects_response`: whether its
    partners answer what they are sent. `queued_tag`: what says in an answer that something waits to be polled.
    `tell`: our event's name, and the network's event in which it is told.
    """

    name: str
    title: str
    description: str = ""
    source: str = ""
    identity: Identity = "fhir"
    quoted: Quoted = "header"
    duplicate: Duplicate = "same-answer"
    headers: tuple[str, ...] = ()
    acknowledged: int = 202
    acknowledgements: int = 1
    expects_response: bool = True
    retry_schedule: tuple[float, ...] = ()
    queued_tag: tuple[str, str] | None = None
    holds: bool = False
    checking: tuple[tuple[str, Level], ...] = ()
    replies: Replies = Replies()
    rules: tuple[Rule, ...] = ()
    tell: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One network's way of speaking: what its pack says, and the functions that go by it."""

    pack: Pack
    understand: Understand
    answer: Answering
    tell: Telling

    @property
    def name(self) -> str:
        return self.pack.name

    @property
    def title(self) -> str:
        return self.pack.title

    @property
    def identity(self) -> Identity:
        return self.pack.identity

    @property
    def quoted(self) -> Quoted:
        return self.pack.quoted

    @property
    def duplicate(self) -> Duplicate:
        return self.pack.duplicate

    @property
    def headers(self) -> tuple[str, ...]:
        """The HTTP headers that it looks at, in lower case."""
        return self.pack.headers

    @property
    def acknowledged(self) -> int:
        return self.pack.acknowledged

    @property
    def acknowledgements(self) -> int:
        return self.pack.acknowledgements

    @property
    def expects_response(self) -> bool:
        return self.pack.expects_response

    @property
    def retry_schedule(self) -> tuple[float, ...]:
        return self.pack.retry_schedule
