"""Step 2 of a message's path: run its handler and write its reply, in one transaction.

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

from gateway.errors import Conflict, DatabaseUnavailable, Issue, Refused
from gateway.fhir import formats
from gateway.fhir.check import check_structure
from gateway.fhir.message import Message, Ourselves, Resource, read_message
from gateway.fhir.parameters import unwrap
from gateway.records import Records
from gateway.replies import keep_reply, write_reply
from gateway.routing import Handler, Registry
from gateway.store import inbox
from gateway.store.database import Connection, Database, savepoint
from gateway.store.inbox import Waiting

log = structlog.get_logger()

_LONGEST_CAUSE = 4000


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of a message: `ok` or `fatal-error` (its reply is kept), `failed` (due again) or `dead`."""

    message_id: int
    lane: str
    event: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """A message that was read and checked; `handler` is None when it is refused for `issues`."""

    head: Waiting
    message: Message
    handler: Handler | None
    issues: Sequence[Issue]


Guard = Callable[[Waiting], AbstractContextManager[object]]


class Processor:
    """Processes messages. `guard` is held around all that a message can make go wrong."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        ourselves: Ourselves,
        retry_schedule: Sequence[float],
        guard: Guard = nullcontext,
    ) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._retry_schedule = retry_schedule
        self._guard = guard

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
        ready = [one for head in heads if (one := self._prepare(head, outcomes))]
        if len(ready) > 1:
            ready = self._take_effect_together(ready, outcomes)
        for one in ready:
            outcomes[one.head.id] = self._take_effect_alone(one)
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
            recorded = inbox.fail(connection, head, cause[-_LONGEST_CAUSE:], due_at)
        outcome = "dead" if due_at is None else "failed"
        if recorded:
            log.error("message " + outcome, message_id=head.id, attempt=head.attempts + 1, cause=kind)
        return outcome if recorded else None

    def _prepare(self, head: Waiting, outcomes: dict[int, str | None]) -> _Ready | None:
        try:
            with self._guard(head):
                bundle = unwrap(formats.parse(head.body, formats.format_of(head.media_type)))
                message = read_message(bundle, head.received_at)
                return _Ready(head, message, *self._find_handler(message))
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is kept
            outcomes[head.id] = self._fail(head, error)
            return None

    def _take_effect_together(self, ready: Sequence[_Ready], outcomes: dict[int, str | None]) -> list[_Ready]:
        """One transaction for all; those that fail are undone by themselves. Returns what is to be tried alone."""
        failed: dict[int, Exception] = {}

        def work(connection: Connection) -> None:
            failed.clear()
            for one in ready:
                try:
                    with savepoint(connection):
                        outcomes[one.head.id] = self._take_effect(connection, one)
                except DatabaseUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever a handler raises, the message is kept
                    failed[one.head.id] = error

        self._database.attempt(work)
        for one in ready:
            if one.head.id in failed and not isinstance(failed[one.head.id], Conflict):
                outcomes[one.head.id] = self._fail(one.head, failed[one.head.id])
        return [one for one in ready if isinstance(failed.get(one.head.id), Conflict)]

    def _take_effect_alone(self, ready: _Ready) -> str | None:
        try:
            return self._database.attempt(lambda connection: self._take_effect(connection, ready))
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the message is kept
            return self._fail(ready.head, error)

    def _fail(self, head: Waiting, error: Exception) -> str | None:
        return self.record_failure(head, "".join(traceback.format_exception(error)), type(error).__name__)

    def _find_handler(self, message: Message) -> tuple[Handler | None, Sequence[Issue]]:
        """The handler of a sound message, or None; and what was found wrong with it."""
        try:
            handler = self._registry.get(message)
        except Refused as refused:
            return None, refused.issues
        issues = check_structure(message.bundle)
        is_sound = all(issue.severity in ("warning", "information") for issue in issues)
        return (handler if is_sound else None), issues

    def _take_effect(self, connection: Connection, ready: _Ready) -> str | None:
        """The outcome, committed with the transaction; None when another worker has the message."""
        head, now = ready.head, datetime.now(UTC)
        if not inbox.claim(connection, head, now):
            return None
        with self._guard(head):
            if ready.handler is None:
                reply = write_reply(ready.message, "fatal-error", self._ourselves, now, ready.issues)
            else:
                reply = self._handle(connection, ready, ready.handler, now)
            keep_reply(connection, head.id, reply, head, now)
        outcome: str = reply["entry"][0]["resource"]["response"]["code"]
        return outcome

    def _handle(self, connection: Connection, ready: _Ready, handler: Handler, now: datetime) -> Resource:
        """The reply of the handler; its effects are in the transaction, or none are when it refuses."""
        message, issues = ready.message, ready.issues
        records = Records(message, connection, now, self._ourselves.base_url)
        try:
            answer = handler.function(message, records)
        except Refused as refused:
            return write_reply(message, "fatal-error", self._ourselves, now, [*issues, *refused.issues])
        records.flush(ready.head.id)
        return write_reply(message, "ok", self._ourselves, now, [*issues, *answer.issues], answer.focus)
