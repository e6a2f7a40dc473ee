"""Step 2 of a message's path: run its handler, and keep what it did, its reply and what is told in one transaction.

A message whose handler crashed is kept with the cause and is due again on a schedule; those behind it in its lane
wait. After the last try it is set aside for the operator, and the lane goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from gateway import preconditions
from gateway.checking import Checking
from gateway.errors import Conflict, DatabaseUnavailable, Issue, Refused, TookTooLong
from gateway.fhir import dialects
from gateway.fhir.dialects import Manner
from gateway.fhir.message import Message, Ourselves, ResponseCode
from gateway.kept import Kept
from gateway.partners import Partner
from gateway.recognition import read_kept
from gateway.records import Records
from gateway.replies import Written, keep_reply, write_answer
from gateway.routing import Handler, Registry
from gateway.store import inbox
from gateway.store.database import Connection, Database, savepoint
from gateway.store.inbox import Waiting
from gateway.subscriptions import Directory
from gateway.telling import Teller, Telling, keep_messages, keep_notifications
from gateway.terms import Standing

log = structlog.get_logger()

_LONGEST_CAUSE = 4000
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of a message: `ok` or `fatal-error` (its reply is kept), `failed` (due again) or `dead`."""

    message_id: int
    lane: str
    event: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _CarriedOut:
    """What a message's handler did, and what is `told` of it, before any of it is kept.

    `records` is None when it refused.
    """

    head: Waiting
    records: Records | None
    answer: Written
    now: datetime
    told: Sequence[Telling] = ()


Guard = Callable[[Waiting], AbstractContextManager[object]]


class Processor:
    """Processes messages. `guard` is held around all that a message can make go wrong."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        ourselves: Ourselves,
        checking: Checking,
        terms: Standing,
        retry_schedule: Sequence[float],
        guard: Guard = nullcontext,
    ) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._checking = checking
        self._terms = terms
        self._retry_schedule = retry_schedule
        self._guard = guard
        self._subscriptions = Directory(database, ourselves.base_url)

    def find_due(self, lanes: Sequence[str]) -> list[Waiting]:
        """The oldest message of each lane, where it is due: those behind it wait for it."""
        with self._database.reading() as connection:
            heads = inbox.find_heads(connection, lanes)
        now = datetime.now(UTC)
        return [head for head in heads if head.due_at <= now]

    def process(self, heads: Sequence[Waiting]) -> list[Processed]:
        """Processes the heads of lanes, several in one transaction; leaves out those that another worker has.

        Raises DatabaseUnavailable when the database cannot be reached: that is no fault of the messages.
        """
        started = time.perf_counter()
        outcomes: dict[int, str | None] = {}
        ready = [one for head in heads if (one := self._carry_out(head, outcomes))]
        again = ready if len(ready) == 1 else self._keep_together(ready, outcomes)
        for one in again:
            outcomes[one.head.id] = self._keep_alone(one)
        seconds = (time.perf_counter() - started) / max(len(heads), 1)
        found = ((head, outcomes[head.id]) for head in heads)
        return [
            Processed(head.id, head.lane, self._registry.label(head.event_code), outcome, seconds)
            for head, outcome in found
            if outcome is not None
        ]

    def record_death(self, message_id: int) -> None:
        """Counts the death of a worker that had the message in hand as a failed attempt of the message."""
        with self._database.reading() as connection:
            head = inbox.find_waiting(connection, message_id)
        if head is not None:
            self.record_failure(head, "The worker that processed it died.", "WorkerDied")

    def record_failure(self, head: Waiting, cause: str, kind: str) -> str | None:
        """Keeps the cause of a failed attempt: `failed`, or `dead` after the last; None when another was quicker."""
        due_at = None
        if head.attempts < len(self._retry_schedule):
            due_at = datetime.now(UTC) + timedelta(seconds=self._retry_schedule[head.attempts])
        with self._database.transaction() as connection:
            recorded = inbox.fail(connection, head, _storable(cause), due_at)
        outcome = "dead" if due_at is None else "failed"
        if recorded:
            log.error("message " + outcome, message_id=head.id, attempt=head.attempts + 1, cause=kind)
        return outcome if recorded else None

    def _carry_out(self, head: Waiting, outcomes: dict[int, str | None]) -> _CarriedOut | None:
        """What the message's handler makes of it, not kept yet; None when it failed.

        No transaction is open: a handler that takes its time holds up nobody but its own lane. What it has read and
        changes is checked again when it is kept.
        """
        try:
            with self._guard(head):
                return self._call_handler(head)
        except DatabaseUnavailable:
            raise
        except (Exception, TookTooLong) as error:  # noqa: BLE001 - whatever a handler raises, the message is kept
            outcomes[head.id] = self._fail(head, error)
            return None

    def _call_handler(self, head: Waiting) -> _CarriedOut:
        now, terms, subscribed = datetime.now(UTC), self._terms.current(), self._subscriptions.current()
        message, partner = read_kept(head, terms.partners)
        handler, issues = self._find_handler(message, partner, head.manner)
        if handler is None:
            return _CarriedOut(head, None, self._answer(head, message, "fatal-error", now, issues), now)
        with self._database.reading() as connection:
            records = Records(message, connection, now, self._ourselves.base_url, terms)
            try:
                records.parties.check_sender()
                preconditions.check(message, records)
                reply = handler.function(message, records)
            except Refused as refused:
                told, is_more = [*issues, *refused.issues], _is_more_queued(head, partner, records)
                answer = self._answer(head, message, "fatal-error", now, told, is_more_queued=is_more)
                return _CarriedOut(head, None, answer, now)
            tellings = Teller(message, records, self._ourselves, now, subscribed).tell(reply.focus)
            is_more = _is_more_queued(head, partner, records)
        told = [*issues, *reply.issues]
        answer = self._answer(head, message, "ok", now, told, reply.focus, is_more_queued=is_more)
        return _CarriedOut(head, records, answer, now, tellings)

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

    def _keep_together(self, ready: Sequence[_CarriedOut], outcomes: dict[int, str | None]) -> list[_CarriedOut]:
        """Keeps what came of several messages in one transaction. Returns those that are to be kept alone."""

        def work(connection: Connection) -> tuple[dict[int, str | None], list[_CarriedOut]]:
            kept: dict[int, str | None] = {}
            alone: list[_CarriedOut] = []
            for one in ready:
                try:
                    with savepoint(connection):
                        kept[one.head.id] = _keep(connection, one)
                except DatabaseUnavailable:
                    raise
                except Exception:  # noqa: BLE001 - it comes again alone, and is dealt with there
                    alone.append(one)
            _keep_notifications(connection, [one for one in ready if kept.get(one.head.id)])
            return kept, alone

        try:
            kept, alone = self._database.attempt(work)
        except Conflict:
            return list(ready)
        outcomes |= kept
        return alone

    def _keep_alone(self, carried_out: _CarriedOut) -> str | None:
        """The outcome; what clashes with another transaction is carried out anew on what that one left."""
        head, failed = carried_out.head, dict[int, str | None]()
        last: Exception = Conflict("too many others at the same resources")
        for _ in range(_ATTEMPTS):
            one = carried_out
            try:
                with self._database.transaction() as connection:
                    outcome = _keep(connection, one)
                    _keep_notifications(connection, [one] if outcome else [])
                    return outcome
            except DatabaseUnavailable:
                raise
            except Conflict as conflict:
                last = conflict
            except Exception as error:  # noqa: BLE001 - the message is kept, with the cause
                return self._fail(head, error)
            again = self._carry_out(head, failed)
            if again is None:
                return failed[head.id]
            carried_out = again
        return self._fail(head, last)

    def _fail(self, head: Waiting, error: BaseException) -> str | None:
        return self.record_failure(head, "".join(traceback.format_exception(error)), type(error).__name__)

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


def _keep(connection: Connection, carried_out: _CarriedOut) -> str | None:
    """The outcome, committed with the transaction; None when another worker has the message."""
    head = carried_out.head
    if not inbox.claim(connection, head, carried_out.now):
        return None
    if carried_out.records is not None:
        carried_out.records.flush(connection, head.id)
    keep_reply(connection, head.id, carried_out.answer, head, carried_out.now)
    keep_messages(connection, head.id, head.lane, carried_out.told, carried_out.now)
    return carried_out.answer.code


def _is_more_queued(head: Waiting, partner: Partner | None, records: Records) -> bool:
    """Whether something waits to be polled by the sender; looked at where its dialect says so in an answer."""
    if partner is None or partner.tell != "poll" or head.manner is None:
        return False
    return dialects.get(partner.dialect).pack.queued_tag is not None and records.queue.is_more(partner)


def _keep_notifications(connection: Connection, kept: Sequence[_CarriedOut]) -> None:
    told = [(one.head.id, one.head.lane, telling, one.now) for one in kept for telling in one.told]
    keep_notifications(connection, told)


def _storable(text: str) -> str:
    """The end of a text, without what a database does not take in one."""
    return text[-_LONGEST_CAUSE:].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
