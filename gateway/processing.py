"""Step 2 of a message's path: run its handler, and keep what it did, its reply and what is told in one transaction.

A message whose handler crashed is kept with the cause and is due again on a schedule; those behind it in its lane
wait. After the last try it is set aside for the operator, and the lane goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from gateway.checking import Checking
from gateway.errors import Conflict, DatabaseUnavailable
from gateway.fhir.message import Ourselves
from gateway.performing import Guard, Performed, Performer, keep, parted
from gateway.routing import Registry
from gateway.store import inbox
from gateway.store.database import Connection, Database
from gateway.store.inbox import Waiting
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
        self._retry_schedule = retry_schedule
        self._performer = Performer(database, registry, ourselves, checking, terms, guard)

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
        ahead, number = list(heads), len(heads)
        while ahead:
            together, apart = parted(self._perform(ahead[:number], outcomes))
            if len(together) < 2 or not self._keep_together(together, outcomes):
                for one in together:
                    outcomes[one.head.id] = self._keep_alone(one)
            ahead[:number] = [one.head for one in apart]
            number = 2 * len(together) or number
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
            recorded = inbox.fail(connection, head, cause, due_at)
        outcome = "dead" if due_at is None else "failed"
        if recorded:
            log.error("message " + outcome, message_id=head.id, attempt=head.attempts + 1, cause=kind)
        return outcome if recorded else None

    def _perform(self, heads: Sequence[Waiting], outcomes: dict[int, str | None]) -> list[Performed]:
        """What handlers make of messages, not kept yet; without those that failed.

        No transaction is open: a handler that takes its time holds up nobody but its own lane.
        """
        ready: list[Performed] = []
        for head, one in zip(heads, self._performer.perform(heads), strict=True):
            if isinstance(one, Performed):
                ready.append(one)
            else:
                outcomes[head.id] = self._fail(head, one)
        return ready

    def _keep_together(self, ready: Sequence[Performed], outcomes: dict[int, str | None]) -> bool:
        """Keeps what came of several messages in one transaction; False when that cannot be: some must come alone."""

        def work(connection: Connection) -> dict[int, str | None]:
            return _keep(connection, ready)

        try:
            outcomes |= self._database.attempt(work, times=1)
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001 - it comes again alone, and is dealt with there
            return False
        return True

    def _keep_alone(self, performed: Performed) -> str | None:
        """The outcome; what clashes with another transaction is performed anew on what that one left."""
        head, failed = performed.head, dict[int, str | None]()
        last: Exception = Conflict("too many others at the same resources")
        for _ in range(_ATTEMPTS):
            try:
                with self._database.transaction() as connection:
                    return _keep(connection, [performed])[head.id]
            except DatabaseUnavailable:
                raise
            except Conflict as conflict:
                last = conflict
            except Exception as error:  # noqa: BLE001 - the message is kept, with the cause
                return self._fail(head, error)
            again = self._perform([head], failed)
            if not again:
                return failed[head.id]
            [performed] = again
        return self._fail(head, last)

    def _fail(self, head: Waiting, error: BaseException) -> str | None:
        return self.record_failure(head, cause_of(error), type(error).__name__)


def _keep(connection: Connection, ready: Sequence[Performed]) -> dict[int, str | None]:
    """The outcomes, committed with the transaction; None where another worker has the message."""
    free = inbox.claim(connection, [(one.head, one.now) for one in ready])
    claimed = [one for one in ready if one.head.id in free]
    keep(connection, [(one, one.head.id) for one in claimed])
    return {one.head.id: None for one in ready} | {one.head.id: one.outcome for one in claimed}


def cause_of(error: BaseException) -> str:
    """The end of how an error came about, without what a database does not take in a text."""
    text = "".join(traceback.format_exception(error))
    return text[-_LONGEST_CAUSE:].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
