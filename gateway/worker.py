"""Celery: the jobs that drain lanes, and the sweep that queues again whatever is due.

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
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from types import FrameType

import celery
import structlog
from celery import signals
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from gateway import metrics, routing, settings
from gateway.errors import DatabaseUnavailable
from gateway.fhir.check import warm
from gateway.fhir.message import Ourselves
from gateway.in_hand import InHand
from gateway.logs import set_up_logs
from gateway.notices import Notices
from gateway.processing import Processed, Processor
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import inbox
from gateway.store.database import Database
from gateway.store.inbox import Waiting

log = structlog.get_logger()

DRAIN = "gateway.drain"
BEAT_SECONDS = 2.0
_NUDGE_AGAIN_AFTER = timedelta(seconds=2)
_LANES_A_JOB = 4
_NOTHING_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_LANES_A_SWEEP = 1000
_SHORT_QUEUE = 50
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
_UNREACHABLE = (BrokerError, KombuError, RedisError, OSError)


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
        except _UNREACHABLE as error:
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
            while len(together) < _LANES_A_JOB and not self._waiting.empty():
                together.append(self._waiting.get())
            for queue in {queue for queue, _ in together}:
                self._dispatcher.nudge([lane for its_queue, lane in together if its_queue == queue], queue)


class HandlerTimeoutError(Exception):
    """A handler ran longer than `handler_timeout`."""


class Hand:
    """What a worker has in hand: written down before a message can do harm, and not held for longer than `seconds`."""

    def __init__(self, in_hand: InHand, seconds: float) -> None:
        self._in_hand = in_hand
        self._seconds = seconds
        self._overdue: Waiting | None = None

    def take_overdue(self) -> Waiting | None:
        """The message that took too long since this was last asked."""
        overdue, self._overdue = self._overdue, None
        return overdue

    @contextmanager
    def __call__(self, head: Waiting) -> Iterator[None]:
        """Raises HandlerTimeoutError in the block when it takes too long; only in a process's main thread."""

        def ring(_signal: int, _frame: FrameType | None) -> None:
            self._overdue = head
            raise HandlerTimeoutError(f"longer than {self._seconds:g} s")

        self._in_hand.take(head.id)
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
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
        self.jobs = 0
        self._hand = Hand(in_hand, in_force.handler_timeout)
        ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)
        self._processor = Processor(database, registry, ourselves, in_force.retry_schedule, self._hand)
        self._dispatcher = dispatcher
        self._notices = notices
        self._in_hand = in_hand
        self._settings = in_force

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
        self.jobs += 1
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
            self._processor.record_failure(overdue, "Its handler took too long.", "HandlerTimeoutError")
            self._notices.announce([overdue.id])
            return []
        finally:
            self._in_hand.put_down()
        for one in processed:
            metrics.processed(one.event, one.outcome, one.seconds)
        self._notices.announce([one.message_id for one in processed])
        return processed


class Sweep:
    """Queues again every lane that is due and that no job took: jobs are lost, brokers restart, retries fall due."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher

    def run(self, now: datetime) -> int:
        """One round; returns how many lanes it queued. A queue that is long already gets nothing more."""
        with self._database.transaction() as connection:
            lanes = inbox.take_due_lanes(connection, now, now - _NUDGE_AGAIN_AFTER, _LANES_A_SWEEP)
        queued = 0
        for queue in {self._dispatcher.queue_of(due.event_code) for due in lanes}:
            wanted = [due.lane for due in lanes if self._dispatcher.queue_of(due.event_code) == queue]
            if self._has_room(queue):
                queued += sum(self._dispatcher.nudge([lane], queue) for lane in wanted)
        return queued

    def _has_room(self, queue: str) -> bool:
        try:
            return self._dispatcher.queue_length(queue) < _SHORT_QUEUE
        except _UNREACHABLE:
            return False


def sweep_forever() -> None:
    """The sweep as a program; it outlives a database or a broker that is away."""
    in_force = settings.load()
    set_up_logs(in_force)
    sweep = Sweep(Database(in_force.database_url), Dispatcher(celery_app(in_force), in_force))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if in_force.metrics_port:
        _serve_metrics(in_force)
    while True:
        try:
            sweep.run(datetime.now(UTC))
        except (DatabaseUnavailable, *_UNREACHABLE) as error:
            log.warning("sweep failed", cause=type(error).__name__)
        time.sleep(in_force.sweep_interval)


def _serve_metrics(in_force: Settings) -> None:
    try:
        metrics.serve(in_force.host, in_force.metrics_port)
    except OSError as error:
        log.error("metrics not served", port=in_force.metrics_port, cause=error.strerror)


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

    def start_beating(sender: object, **_: object) -> None:
        notices.beat(name, drainer.jobs)
        sender.timer.call_repeatedly(BEAT_SECONDS, lambda: notices.beat(name, drainer.jobs))  # type: ignore[attr-defined]

    signals.worker_ready.connect(start_beating, weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    drainer.take_over()
    app.worker_main(["--quiet", "worker", "--pool", "solo", "-n", name, "-Q", queues, *quiet])


def _drainer(name: str, app: celery.Celery, notices: Notices, in_force: Settings) -> Drainer:
    registry = routing.load(in_force.handlers)
    warm(_OFTEN_SENT)
    in_hand = InHand(in_force.var / f"{name}.in-hand")
    database = Database(in_force.database_url)
    return Drainer(database, registry, Dispatcher(app, in_force), notices, in_hand, in_force)


class Watchdog:
    """Tells a worker that hangs from one that has nothing to do: jobs wait in its queues, and it begins none."""

    def __init__(self, name: str, in_force: Settings, patience: float = 20.0) -> None:
        self._name = name
        self._queues = in_force.queue_names
        self._dispatcher = Dispatcher(celery_app(in_force), in_force)
        self._notices = Notices(in_force.redis_url)
        self._patience = patience + in_force.handler_timeout
        self._jobs = -1
        self._well_at = time.monotonic()

    def __call__(self) -> bool:
        """False when the worker should be restarted. A broker that is away is not the worker's fault."""
        if self._is_well():
            self._well_at = time.monotonic()
        return time.monotonic() - self._well_at < self._patience

    def _is_well(self) -> bool:
        try:
            beat = self._notices.find_beat(self._name)
            if beat is None:
                return False
            has_begun, self._jobs = beat.jobs != self._jobs, beat.jobs
            return has_begun or not any(self._dispatcher.queue_length(queue) for queue in self._queues)
        except _UNREACHABLE:
            return True

    def close(self) -> None:
        self._dispatcher.close()
        self._notices.close()


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
