"""The workers: drain lanes, the oldest message first, and have those called who are told of it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from gateway import garbage, metrics, routing, settings, terms
from gateway.checking import Checking
from gateway.errors import DatabaseUnavailable, TookTooLong
from gateway.fhir.check import warm
from gateway.fhir.message import Ourselves
from gateway.in_hand import InHand
from gateway.jobs import DRAIN, Dispatcher, Doorbell, Worker, celery_app
from gateway.logs import set_up_logs
from gateway.notices import Notices
from gateway.processing import Processed, Processor
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import deliveries
from gateway.store.database import Database
from gateway.store.inbox import Waiting

_OFTEN_SENT = (
    "Bundle",
    "MessageHeader",
    "Task",
    "MedicationRequest",
    "ServiceRequest",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Encounter",
    "Coverage",
    "Condition",
    "Observation",
    "DiagnosticReport",
    "Specimen",
    "MedicationDispense",
    "Provenance",
)


class Hand:
    """What a worker has in hand: written down before a message can do harm, and not held for longer than `seconds`."""

    def __init__(
        self, in_hand: InHand, seconds: float, name_of: Callable[[Waiting], str] = lambda head: str(head.id)
    ) -> None:
        """`name_of` is what is written down of a message."""
        self._in_hand = in_hand
        self._seconds = seconds
        self._name_of = name_of
        self._overdue: Waiting | None = None
        self.taken = 0

    def take_overdue(self) -> Waiting | None:
        """The message that took too long since this was last asked."""
        overdue, self._overdue = self._overdue, None
        return overdue

    @contextmanager
    def __call__(self, head: Waiting) -> Iterator[None]:
        """Raises TookTooLong in the block when it takes too long; only in a process's main thread."""

        def ring(_signal: int, _frame: FrameType | None) -> None:
            self._overdue = head
            raise TookTooLong(f"longer than {self._seconds:g} s")

        self.taken += 1
        self._in_hand.take(self._name_of(head))
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, 1.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class Drainer:
    """Drains lanes: the oldest message of each first, and on to the next until none is due."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        dispatcher: Dispatcher,
        notices: Notices,
        in_hand: InHand,
        in_force: Settings,
    ) -> None:
        self._jobs = 0
        self._hand = Hand(in_hand, in_force.handler_timeout)
        ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)
        self._processor = Processor(
            database,
            registry,
            ourselves,
            Checking(in_force),
            terms.Registered(in_force, database),
            in_force.retry_schedule,
            self._hand,
        )
        self._database = database
        self._dispatcher = dispatcher
        self._notices = notices
        self._doorbell = Doorbell(dispatcher, notices)
        self._in_hand = in_hand
        self._settings = in_force

    @property
    def begun(self) -> int:
        """How many jobs and messages this worker has begun: what hangs begins nothing."""
        return self._jobs + self._hand.taken

    def take_over(self) -> None:
        """Sees to the message that this worker had in hand when it died, in its life before."""
        found = self._in_hand.find()
        if found is not None and found.isdigit():
            message_id = int(found)
            self._processor.record_death(message_id)
            self._in_hand.put_down()
            self._notices.announce([message_id])

    def drain(self, lanes: Sequence[str], queue: str) -> None:
        """Processes what is due in lanes.

        It looks again after each message: what arrived meanwhile was nudged while its predecessor was claimed. It
        hands lanes on after `lane_messages` or `lane_seconds`, and when the next message's event has another queue.
        """
        self._jobs += 1
        end = time.monotonic() + self._settings.lane_seconds
        rounds = 0
        while heads := self._hand_on_others(self._processor.find_due(lanes), queue):
            if rounds >= self._settings.lane_messages or time.monotonic() > end:
                self._dispatcher.nudge([head.lane for head in heads], queue)
                return
            processed = self._process(heads)
            lanes = [one.lane for one in processed]
            rounds += 1

    def _hand_on_others(self, heads: Sequence[Waiting], queue: str) -> list[Waiting]:
        """What is to be processed from this queue; the rest goes to queues of its own."""
        for head in heads:
            if (other := self._dispatcher.queue_of(head.event_code)) != queue:
                self._dispatcher.nudge([head.lane], other)
        return [head for head in heads if self._dispatcher.queue_of(head.event_code) == queue]

    def _process(self, heads: Sequence[Waiting]) -> list[Processed]:
        """What was processed; another worker that has one of them looks again after it."""
        self._hand.take_overdue()
        try:
            processed = self._processor.process(heads)
        except DatabaseUnavailable:
            overdue = self._hand.take_overdue()
            if overdue is None:
                raise
            # It was stopped in the middle of a statement, which its connection did not survive.
            self._processor.record_failure(overdue, "Its handler took too long.", "TookTooLong")
            self._notices.announce([overdue.id])
            return []
        finally:
            self._in_hand.put_down()
        for one in processed:
            metrics.processed(one.event, one.outcome, one.seconds)
        self._notices.announce([one.message_id for one in processed])
        self._have_called(processed)
        return processed

    def _have_called(self, processed: Sequence[Processed]) -> None:
        """Who is told of what came of messages: at once, and if this process dies here, by the sweep."""
        ids = [one.message_id for one in processed]
        with self._database.reading() as connection:
            recipients = deliveries.find_told(connection, ids) if ids else []
        self._doorbell.ring(recipients)


def work(name: str, queues: str) -> None:
    """One worker as a program, which carries out its jobs one at a time."""
    in_force = settings.load()
    set_up_logs(in_force)
    app, notices = celery_app(in_force), Notices(in_force.redis_url)
    registry = routing.load(in_force.handlers)
    warm(_OFTEN_SENT)
    garbage.spare_loaded()
    in_hand = InHand(in_force.var / f"{name}.in-hand")
    drainer = Drainer(Database(in_force.database_url), registry, Dispatcher(app, in_force), notices, in_hand, in_force)
    drainer.take_over()
    Worker(name, queues, DRAIN, drainer.drain, 1, lambda: drainer.begun).work(app, notices)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
