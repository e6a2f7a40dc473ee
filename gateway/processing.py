"""Step 2 of a message's path: run its handler and write its reply, in one transaction.

A message whose handler crashed is kept with the cause and is due again on a schedule; those behind it in its lane
wait. After the last try it is set aside for the operator, and the lane goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from gateway.errors import DatabaseUnavailable, Issue, Refused
from gateway.fhir import formats
from gateway.fhir.check import check_structure
from gateway.fhir.message import Message, Ourselves, Resource, read_message
from gateway.fhir.parameters import unwrap
from gateway.records import Records
from gateway.replies import keep_reply, write_reply
from gateway.routing import Handler, Registry
from gateway.store import inbox
from gateway.store.database import Connection, Database
from gateway.store.inbox import Waiting

log = structlog.get_logger()

_LONGEST_CAUSE = 4000


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of a message: `ok` or `fatal-error` (its reply is kept), `failed` (due again) or `dead`."""

    message_id: int
    event: str
    outcome: str
    seconds: float


class Processor:
    """Processes messages, one at a time."""

    def __init__(
        self, database: Database, registry: Registry, ourselves: Ourselves, retry_schedule: Sequence[float]
    ) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._retry_schedule = retry_schedule

    def find_due(self, lane: str) -> Waiting | None:
        """The oldest message of a lane, if it is due: those behind it wait for it."""
        with self._database.reading() as connection:
            head = inbox.find_head(connection, lane)
        return head if head is not None and head.due_at <= datetime.now(UTC) else None

    def process(self, head: Waiting) -> Processed | None:
        """Processes one message; None when another worker was quicker.

        Raises DatabaseUnavailable when the database cannot be reached: that is no fault of the message.
        """
        started = time.perf_counter()
        try:
            outcome = self._attempt(head)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the message is kept
            cause = "".join(traceback.format_exception(error))
            outcome = self.record_failure(head, cause[-_LONGEST_CAUSE:], type(error).__name__)
        seconds = time.perf_counter() - started
        return None if outcome is None else Processed(head.id, self._registry.label(head.event_code), outcome, seconds)

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
            recorded = inbox.fail(connection, head, cause, due_at)
        outcome = "dead" if due_at is None else "failed"
        if recorded:
            log.error("message " + outcome, message_id=head.id, attempt=head.attempts + 1, cause=kind)
        return outcome if recorded else None

    def _attempt(self, head: Waiting) -> str | None:
        bundle = unwrap(formats.parse(head.body, formats.format_of(head.media_type)))
        message = read_message(bundle, head.received_at)
        handler, issues = self._find_handler(message)
        return self._database.attempt(lambda connection: self._take_effect(connection, head, message, handler, issues))

    def _find_handler(self, message: Message) -> tuple[Handler | None, Sequence[Issue]]:
        """The handler of a sound message, or None; and what was found wrong with it."""
        try:
            handler = self._registry.get(message)
        except Refused as refused:
            return None, refused.issues
        issues = check_structure(message.bundle)
        is_sound = all(issue.severity in ("warning", "information") for issue in issues)
        return (handler if is_sound else None), issues

    def _take_effect(
        self,
        connection: Connection,
        head: Waiting,
        message: Message,
        handler: Handler | None,
        issues: Sequence[Issue],
    ) -> str | None:
        now = datetime.now(UTC)
        if not inbox.claim(connection, head, now):
            return None
        if handler is None:
            reply = write_reply(message, "fatal-error", self._ourselves, now, issues)
        else:
            reply = self._handle(connection, head, message, handler, issues, now)
        keep_reply(connection, head.id, reply, head, now)
        outcome: str = reply["entry"][0]["resource"]["response"]["code"]
        return outcome

    def _handle(
        self,
        connection: Connection,
        head: Waiting,
        message: Message,
        handler: Handler,
        issues: Sequence[Issue],
        now: datetime,
    ) -> Resource:
        """The reply of the handler; its effects are in the transaction, or none are when it refuses."""
        records = Records(message, connection, now, self._ourselves.base_url)
        try:
            answer = handler.function(message, records)
        except Refused as refused:
            return write_reply(message, "fatal-error", self._ourselves, now, [*issues, *refused.issues])
        records.flush(head.id)
        return write_reply(message, "ok", self._ourselves, now, [*issues, *answer.issues], answer.focus)
