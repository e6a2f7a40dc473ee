"""Celery: the jobs that drain lanes.

A job carries a lane's name and nothing else. The database is the truth: a job that is lost is queued again by the
sweep, one that comes twice finds nothing to do, and a broker that is away only delays.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

import celery
import structlog
from celery import signals
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from gateway import metrics, routing, settings, terms
from gateway.checking import Checking
from gateway.errors import DatabaseUnavailable, TookTooLong
from gateway.fhir.check import warm
from gateway.fhir.message import Ourselves
from gateway.in_hand import InHand
from gateway.logs import places_of, set_up_logs
from gateway.notices import Notices
from gateway.processing import Processed, Processor
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.inbox import Events, Waiting

log = structlog.get_logger()

DRAIN = "gateway.drain"
BEAT_SECONDS = 2.0
LANES_A_JOB = 8
_NOTHING_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
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
UNREACHABLE = (BrokerError, KombuError, RedisError, OSError)


def celery_app(in_force: Settings) -> celery.Celery:
    """The Celery application, with the options that came out best for small jobs whose loss does no harm."""
    app = celery.Celery("gateway", broker=in_force.broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_publish_retry=False,
        broker_pool_limit=in_force.web_threads,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "ack_emulation": False,  # what a worker loses, the sweep queues again
        },
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_default_queue=settings.DEFAULT_QUEUE,
        task_create_missing_queues=True,
    )
    return app


class Dispatcher:
    """Puts lanes on the queue of the event that waits in them."""

    def __init__(self, app: celery.Celery, in_force: Settings) -> None:
        self._app = app
        self._queues = in_force.queues

    def queue_of(self, event_code: str) -> str:
        return self._queues.get(event_code, settings.DEFAULT_QUEUE)

    def queues(self) -> list[str]:
        return sorted({settings.DEFAULT_QUEUE, *self._queues.values()})

    def events_of(self, queue: str) -> Events:
        """The events whose messages wait for this queue; those that the settings do not name are the default one's."""
        if queue == settings.DEFAULT_QUEUE:
            return Events(tuple(code for code, other in self._queues.items() if other != queue), all_but=True)
        return Events(tuple(code for code, its_queue in self._queues.items() if its_queue == queue), all_but=False)

    def nudge(self, lanes: Sequence[str], queue: str) -> bool:
        """Puts a job for lanes on a queue; False when the broker cannot be reached: the sweep does it later.

        The job is written by Celery's protocol (https://docs.celeryq.dev/en/stable/internals/protocol.html) without
        the detour through `send_task`, which takes twice as long for what a lane's name does not need.
        """
        job = str(uuid.uuid4())
        headers = {"lang": "py", "task": DRAIN, "id": job, "root_id": job, "parent_id": None, "group": None}
        try:
            with self._app.producer_pool.acquire(block=True, timeout=2) as producer:
                producer.publish(
                    ([lanes, queue], {}, _NOTHING_EMBEDDED),
                    headers=headers,
                    correlation_id=job,
                    routing_key=queue,
                    exchange="",
                    serializer="json",
                    retry=False,
                )
        except UNREACHABLE as error:
            log.warning("lanes not queued", queue=queue, lanes=len(lanes), cause=type(error).__name__)
            return False
        return True

    def queue_length(self, queue: str) -> int:
        """How many jobs wait in a queue. Raises what the broker raises when it cannot be reached."""
        with self._app.pool.acquire(block=True, timeout=2) as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:  # on Redis, a queue that is empty is not there
                return 0

    def close(self) -> None:
        self._app.close()


class Courier:
    """Takes lanes to their queues in a thread of its own: those that come while it is under way go together next time.

    One at a time when there is little to do, so that nobody waits; several in a job when there is much.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._waiting: SimpleQueue[tuple[str, str]] = SimpleQueue()
        threading.Thread(target=self._run, name="courier", daemon=True).start()

    def take(self, lane: str, event_code: str) -> None:
        self._waiting.put((self._dispatcher.queue_of(event_code), lane))

    def _run(self) -> None:
        while True:
            together = [self._waiting.get()]
            while len(together) < LANES_A_JOB and not self._waiting.empty():
                together.append(self._waiting.get())
            for queue in {queue for queue, _ in together}:
                try:
                    self._dispatcher.nudge([lane for its_queue, lane in together if its_queue == queue], queue)
                except Exception as error:  # noqa: BLE001 - the sweep does it then; the courier must go on
                    log.error("lanes not queued", queue=queue, cause=type(error).__name__)


class Hand:
    """What a worker has in hand: written down before a message can do harm, and not held for longer than `seconds`."""

    def __init__(self, in_hand: InHand, seconds: float) -> None:
        self._in_hand = in_hand
        self._seconds = seconds
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
        self._in_hand.take(head.id)
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
            terms.load(in_force),
            in_force.retry_schedule,
            self._hand,
        )
        self._dispatcher = dispatcher
        self._notices = notices
        self._in_hand = in_hand
        self._settings = in_force

    @property
    def begun(self) -> int:
        """How many jobs and messages this worker has begun: what hangs begins nothing."""
        return self._jobs + self._hand.taken

    def take_over(self) -> None:
        """Sees to the message that this worker had in hand when it died, in its life before."""
        message_id = self._in_hand.find()
        if message_id is not None:
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
        return processed


def work(name: str, queues: str) -> None:
    """One worker as a program: a Celery worker that runs its jobs itself, one at a time (`--pool solo`)."""
    in_force = settings.load()
    set_up_logs(in_force)
    app = celery_app(in_force)
    notices = Notices(in_force.redis_url)
    drainer = _drainer(name, app, notices, in_force)

    @app.task(name=DRAIN)
    def drain(lanes: list[str], queue: str) -> None:
        try:
            drainer.drain(lanes, queue)
        except DatabaseUnavailable as error:
            log.error("database unavailable", cause=str(error))
        except Exception as error:  # noqa: BLE001 - its text may hold what a message says
            log.error("job failed", cause=type(error).__name__, at=places_of(error))

    signals.worker_ready.connect(lambda **_: _beat_for_ever(notices, name, drainer), weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    drainer.take_over()
    app.worker_main(["--quiet", "worker", "--pool", "solo", "-n", name, "-Q", queues, *quiet])


def _beat_for_ever(notices: Notices, name: str, drainer: Drainer) -> None:
    def beat() -> None:
        while True:
            notices.beat(name, drainer.begun)
            time.sleep(BEAT_SECONDS)

    threading.Thread(target=beat, name="beat", daemon=True).start()


def _drainer(name: str, app: celery.Celery, notices: Notices, in_force: Settings) -> Drainer:
    registry = routing.load(in_force.handlers)
    warm(_OFTEN_SENT)
    in_hand = InHand(in_force.var / f"{name}.in-hand")
    database = Database(in_force.database_url)
    return Drainer(database, registry, Dispatcher(app, in_force), notices, in_hand, in_force)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
