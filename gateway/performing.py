"""What handlers make of messages, before any of it is kept; and how it is kept, with the replies and what is told.

No transaction need be open while handlers are at work: what they have read and change is checked again when it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar

from gateway import made, preconditions
from gateway.checking import Checking
from gateway.errors import DatabaseUnavailable, Issue, Refused, TookTooLong
from gateway.fhir import dialects
from gateway.fhir.dialects import Manner
from gateway.fhir.message import Message, Ourselves, Replayed, ResponseCode
from gateway.foresight import Foreseen, read_ahead
from gateway.kept import Kept
from gateway.partners import Partner
from gateway.recognition import read_kept
from gateway.records import Records
from gateway.replies import Written, reply_entry, write_answer
from gateway.routing import Handler, Registry
from gateway.store import outbox
from gateway.store.database import Connection, Database
from gateway.store.inbox import Waiting
from gateway.subscriptions import Directory, InForce
from gateway.telling import Teller, Telling, keep_notifications, message_entry
from gateway.terms import Standing, Terms

Effects = Literal["send", "hold", "suppress"]
"""What becomes of replies that are sent later, and of what partners are told: sent, kept until it is released, none."""
T = TypeVar("T")
Guard = Callable[[Waiting], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Performed:
    """What a message's handler did, and what is `told` of it, before any of it is kept.

    `records` is None when it refused.
    """

    head: Waiting
    records: Records | None
    answer: Written
    now: datetime
    told: Sequence[Telling] = ()

    @property
    def outcome(self) -> ResponseCode:
        """`ok` or `fatal-error`."""
        return self.answer.code

    @property
    def changes(self) -> list[tuple[Kept | None, Kept]]:
        """Each resource that it writes: as it was, None if it is new, and as it is to be."""
        return self.records.changes if self.records is not None else []


@dataclass(frozen=True, slots=True)
class _Read:
    """A sound message that is to be handled; `issues` are warnings."""

    head: Waiting
    now: datetime
    message: Message
    partner: Partner | None
    handler: Handler
    issues: Sequence[Issue]
    foreseen: Foreseen


class Performer:
    """Has messages handled. `guard` is held around all that a message can make go wrong."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        ourselves: Ourselves,
        checking: Checking,
        terms: Standing,
        guard: Guard = nullcontext,
    ) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._checking = checking
        self._terms = terms
        self._guard = guard
        self._subscriptions = Directory(database, ourselves.base_url)

    def perform(
        self, heads: Sequence[Waiting], *, replayed: Replayed | None = None, tells: bool = True
    ) -> list[Performed | BaseException]:
        """What handlers make of messages of different lanes, each by itself, in their order; or what went wrong.

        In a transaction that the thread has open, they see what that has written. Without `tells` nothing is composed
        for partners. Raises DatabaseUnavailable.
        """
        terms, subscribed = self._terms.current(), self._subscriptions.current() if tells else {}
        read = [self._guarded(head, partial(self._read, head, terms, replayed)) for head in heads]
        foreseen = [one.foreseen for one in read if isinstance(one, _Read)]
        if foreseen:
            with self._database.reading() as connection:
                read_ahead(connection, foreseen, self._registry.own_names)
        return [
            self._guarded(one.head, partial(self._handle, one, terms, subscribed, tells=tells))
            if isinstance(one, _Read)
            else one
            for one in read
        ]

    def _guarded(self, head: Waiting, work: Callable[[], T]) -> T | BaseException:
        try:
            with self._guard(head):
                return work()
        except DatabaseUnavailable:
            raise
        except (Exception, TookTooLong) as error:  # noqa: BLE001 - whatever a handler raises, the message is kept
            return error

    def _read(self, head: Waiting, terms: Terms, replayed: Replayed | None) -> _Read | Performed:
        """The message, its handler, and what was found wrong with it; what came of it, where none is to see it."""
        now = datetime.now(UTC)
        message, partner = read_kept(head, terms.partners)
        message = replace(message, replayed=replayed) if replayed else message
        handler, issues = self._find_handler(message, partner, head.manner)
        if handler is None:
            return Performed(head, None, self._answer(head, message, "fatal-error", now, issues), now)
        foreseen = Foreseen(message)
        _ = foreseen.asked, foreseen.named
        return _Read(head, now, message, partner, handler, issues, foreseen)

    def _handle(
        self,
        read: _Read,
        terms: Terms,
        subscribed: Mapping[str, Sequence[InForce]],
        *,
        tells: bool,
    ) -> Performed:
        head, now, message, partner, issues = read.head, read.now, read.message, read.partner, read.issues
        with self._database.reading() as connection:
            records = Records(message, connection, now, self._ourselves.base_url, terms, read.foreseen)
            try:
                records.parties.check_sender()
                preconditions.check(message, records)
                reply = read.handler.function(message, records)
            except Refused as refused:
                told, is_more = [*issues, *refused.issues], _is_more_queued(head, partner, records)
                answer = self._answer(head, message, "fatal-error", now, told, is_more_queued=is_more)
                return Performed(head, None, answer, now)
            teller = Teller(message, records, self._ourselves, now, subscribed)
            tellings = teller.tell(reply.focus) if tells else []
            is_more = _is_more_queued(head, partner, records)
        told = [*issues, *reply.issues]
        answer = self._answer(head, message, "ok", now, told, reply.focus, is_more_queued=is_more)
        return Performed(head, records, answer, now, tellings)

    def _answer(
        self,
        head: Waiting,
        message: Message,
        code: ResponseCode,
        now: datetime,
        issues: Sequence[Issue],
        focus: Sequence[Kept] = (),
        *,
        is_more_queued: bool = False,
    ) -> Written:
        ourselves = self._ourselves
        return write_answer(message, head.manner, code, ourselves, now, issues, focus, is_more_queued=is_more_queued)

    def _find_handler(
        self, message: Message, partner: Partner | None, manner: str | None
    ) -> tuple[Handler | None, Sequence[Issue]]:
        """The handler of a sound message, or None; and what was found wrong with it."""
        if message.refusal:
            return None, message.refusal
        try:
            handler = self._registry.get(message)
        except Refused as refused:
            return None, refused.issues
        entries = message.entries if message.sent is message.bundle else None
        endpoint, dialect = message.source_endpoint, Manner.read(manner).dialect if manner else None
        issues = self._checking.check_message(message.sent, message.version, endpoint, entries, partner, dialect)
        is_sound = not any(issue.severity in ("fatal", "error") for issue in issues)
        return (handler if is_sound else None), issues


def parted(performed: Sequence[Performed]) -> tuple[list[Performed], list[Performed]]:
    """Those that can be kept together, and those that clash with one of these: to be performed anew after them."""
    together: list[Performed] = []
    apart: list[Performed] = []
    written: set[str | bytes] = set()
    relied_on: set[str | bytes] = set()
    for one in performed:
        made = one.records.made(one.head.id) if one.records is not None else None
        writes, relies = (made.writes, made.relies_on) if made is not None else (set(), set())
        if written.isdisjoint(writes | relies) and relied_on.isdisjoint(writes):
            together.append(one)
            written |= writes
            relied_on |= relies
        else:
            apart.append(one)
    return together, apart


def keep(
    connection: Connection,
    performed: Sequence[tuple[Performed, int]],
    *,
    effects: Effects = "send",
    replay_id: int | None = None,
) -> None:
    """Keeps what came of messages, each with its id: what they write, their replies, what is told of them.

    Notifications, whose numbers are held until the transaction ends, come last. Raises Conflict when another
    transaction came first for any of them, or two of them clash, which `parted` tells beforehand: each is then to be
    performed anew, and kept alone.
    """
    made.keep(connection, [one.records.made(message_id) for one, message_id in performed if one.records is not None])
    is_held, is_sent = effects == "hold", effects != "suppress"
    entries = [reply_entry(message_id, one.answer, one.head, one.now, is_sent=is_sent) for one, message_id in performed]
    told = [(id_, one.head.lane, telling, one.now) for one, id_ in performed for telling in one.told if is_sent]
    entries += [message_entry(*telling) for telling in told if not telling[2].places]
    outbox.add_all(connection, entries, replay_id, is_held=is_held)
    keep_notifications(connection, told, replay_id, is_held=is_held)


def _is_more_queued(head: Waiting, partner: Partner | None, records: Records) -> bool:
    """Whether something waits to be polled by the sender; looked at where its dialect says so in an answer."""
    if partner is None or partner.tell != "poll" or head.manner is None:
        return False
    return dialects.get(partner.dialect).pack.queued_tag is not None and records.queue.is_more(partner)
