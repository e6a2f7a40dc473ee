"""Messages that come in files: those that the inbox has already, those that it refuses, those that are new to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.correlation import correlated, names_request, note_refusal, tell
from gateway.errors import Conflict, NotAMessage
from gateway.fhir.message import Message
from gateway.receiving import Closing, Submission, keeping
from gateway.recognition import read_kept
from gateway.replay.model import Outcome
from gateway.replay.rounds import Here, Round
from gateway.replay.staging import Laid
from gateway.store import inbox, replay_items
from gateway.store.database import Connection
from gateway.store.inbox import Arrival, Known, Waiting
from gateway.store.replay_items import Decided, Item

if TYPE_CHECKING:
    from gateway.replay.applying import Work

_DONE = {
    "ok": "It took effect before.",
    "fatal-error": "It was refused before, and its sender has that answer.",
    "response": "It is a response, and was kept before.",
}
_TRIES = ("new", "failed", "dead")
_CLASHED = "Its identity is another message's, which has other content. It is kept, with its refusal."
_GONE = "What was laid by of it is not there any more."
_RESPONSE: Mapping[Closing, str] = {
    "closed": "It is a response, and closes what it answers.",
    "again": "It is a response, and has what it answers sent again.",
    "known": "It is a response; what it answers stays as it was.",
    "unknown": "It is a response, and answers nothing that was sent.",
    "foreign": "It is a response, and answers what another partner was sent: it closes nothing.",
    "refused": "It is a response that is not taken for its sender's.",
}
_WOULD_CLOSE = "It is a response: it would close what it answers."


@dataclass(slots=True)
class Prepared:
    """`new` ones, each as the inbox is to have it; `known` ones that have not taken effect, with their ids there.

    `received` are kept as they would be if they came now: responses, and what clashes with another message.
    """

    new: list[tuple[Work, Arrival]] = field(default_factory=list)
    known: list[tuple[Work, int]] = field(default_factory=list)
    received: list[Round] = field(default_factory=list)


class Filed:
    """What came in the files of a replay."""

    def __init__(self, here: Here) -> None:
        self._here = here

    def sizes(self, numbers: Sequence[int]) -> dict[int, int]:
        """The bytes of files, by their numbers."""
        with self._here.database.reading() as connection:
            return replay_items.find_sizes(connection, self._here.replay.id, numbers)

    def prepare(self, works: Sequence[Work]) -> tuple[Prepared, list[Decided]]:
        """What is to be carried out; and what is clear without."""
        prepared, decided = Prepared(), list[Decided]()
        if not works:
            return prepared, decided
        numbers = [work.item.file_number or 0 for work in works]
        with self._here.database.reading() as connection:
            bodies = replay_items.find_bodies(connection, self._here.replay.id, numbers)
            laid = {number: Laid.read(text, body) for number, (text, body) in bodies.items()}
            known = inbox.find_known(connection, [key for one in laid.values() for key in one.keys])
        for work, number in zip(works, numbers, strict=True):
            one = laid.get(number)
            if one is None:
                decided.append(Decided(work.item.position, "impossible", _GONE))
                continue
            before = _known_as(one, known)
            is_same = before is not None and before.content_hash == one.arrival.content_hash
            if before is not None and is_same and before.outcome in _TRIES:
                prepared.known.append((work, before.id))
            elif before is not None and is_same:
                detail = _DONE.get(before.outcome, _DONE["fatal-error"])
                decided.append(Decided(work.item.position, "skipped", detail, message_id=before.id))
            elif before is None and not one.answers:
                work.closes = one.closes
                prepared.new.append((work, one.arrival))
            elif self._here.replay.mode == "dry-run":
                said = ("ok", _WOULD_CLOSE) if one.answers else ("refused", _CLASHED)
                decided.append(Decided(work.item.position, *said))
            else:
                prepared.received.append(Received(self._here, work.item, one))
        return prepared, decided


def _known_as(one: Laid, known: Mapping[bytes, Known]) -> Known | None:
    """The message that has its identity; that of another standing of its sender only where it is the same message."""
    own = (one.arrival.bundle_key, one.arrival.header_key)
    before = next((known[key] for key in own if key is not None and key in known), None)
    other = (known[key] for key in one.also if key in known)
    return before or next((each for each in other if each.content_hash == one.arrival.content_hash), None)


class Received:
    """A response, or a message that clashes with another, which is kept as it would be if it came now."""

    def __init__(self, here: Here, item: Item, laid: Laid) -> None:
        self._here = here
        self._item = item
        self._laid = laid
        self._due_to: str | None = None
        self._came_to: tuple[Message, int, str | None, Closing] | None = None

    @property
    def items(self) -> Sequence[Item]:
        return [self._item]

    def keep(self, connection: Connection, _now: datetime) -> list[Decided]:
        here, arrival, effects = self._here, self._laid.arrival, self._here.replay.options.effects
        self._due_to = self._came_to = None
        message, party = read_filed(here, arrival)
        given = {name: getattr(arrival, name) for name in Submission.__slots__ if hasattr(arrival, name)}
        submission = Submission(**given, party=party)
        sends = {"is_sent": effects != "suppress", "is_held": effects == "hold"}
        try:
            keep = keeping(here.registry, here.ourselves, message, submission, here.replay.id, **sends)
        except NotAMessage as refused:
            return [self._decided("unreadable", " ".join(issue.text for issue in refused.issues))]
        received = keep(connection)
        message_id = received.message_id
        if received.kind == "new":
            raise Conflict("what it clashed with is not there any more")
        if received.kind == "repeat":
            return [self._decided("skipped", _DONE["response" if self._laid.answers else "ok"], message_id)]
        if not message.is_response:
            self._due_to = received.due_to if effects == "send" else None
            return [self._decided("refused", _CLASHED, message_id)]
        came_to = close(here, connection, message, message_id, party)
        self._came_to = (message, message_id, party, came_to)
        return [self._decided("refused" if came_to == "refused" else "ok", _RESPONSE[came_to], message_id)]

    def kept(self, _decided: Sequence[Decided]) -> None:
        if self._due_to is not None:
            self._here.ring([self._due_to])
        if self._came_to is not None:
            tell(*self._came_to)

    def singles(self) -> list[Round]:
        return [self]

    def redo(self) -> None:
        """It is read anew whenever it is kept."""

    def failed(self, _connection: Connection, error: BaseException) -> list[Decided]:
        return [self._decided("failed", type(error).__name__)]

    def _decided(self, outcome: Outcome, detail: str, message_id: int | None = None) -> Decided:
        return Decided(self._item.position, outcome, detail, message_id=message_id)


def read_filed(here: Here, arrival: Arrival) -> tuple[Message, str | None]:
    """A message of a file, and the name of the partner that it is taken to come from."""
    given = {name: getattr(arrival, name) for name in Waiting.__slots__ if hasattr(arrival, name)}
    waiting = Waiting(**given, id=0, attempts=0, due_at=arrival.received_at)
    message, partner = read_kept(waiting, here.standing.current().partners)
    return message, partner.name if partner else None


def close(here: Here, connection: Connection, message: Message, message_id: int, party: str | None) -> Closing:
    """Has a message that is kept close what it answers, as it would if it came now."""
    if message.is_response and message.refusal:
        note_refusal(connection, message, message_id)
        return "refused"
    if not names_request(message):
        return "unknown"
    sends = here.replay.options.effects == "send"
    return correlated(connection, message, message_id, party, sends=sends)
