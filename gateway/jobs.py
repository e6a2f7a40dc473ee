"""Celery: the jobs that drain lanes, deliver and replay, how they are queued, and the workers that carry them out.

A job carries names and nothing else. The database is the truth: a job that is lost is queued again by the sweep, one
that comes twice finds nothing to do, and a broker that is away only delays.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NoReturn

import celery
import structlog
from celery import signals
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from kombu.transport import virtual
from redis.exceptions import RedisError

from gateway import settings
from gateway.errors import DatabaseUnavailable
from gateway.logs import places_of
from gateway.notices import Notices
from gateway.settings import Settings
from gateway.store.inbox import Events

log = structlog.get_logger()

DRAIN, DELIVER, REPLAY = "gateway.drain", "gateway.deliver", "gateway.replay"
DELIVERIES, REPLAYS = "deliveries", "replays"
"""The queues of deliveries and of replays."""
BEAT_SECONDS = 2.0
LAST_CALLS_SECONDS = 2.0
"""For what is under way when a signal ends a worker whose jobs may be given up."""
LANES_A_JOB = 8
_NOTHING_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
UNREACHABLE = (BrokerError, KombuError, RedisError, OSError)
Job = Callable[..., None]

virtual.Channel.do_restore = False
"""What a worker has not done when its broker goes, the sweep queues again: nothing is written to files for that."""


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
    """Puts jobs on queues: lanes on that of the event that waits in them, recipients and replays on their own."""

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
        """Puts a job for lanes on a queue; False when the broker cannot be reached: the sweep does it later."""
        return self._publish(DRAIN, [lanes, queue], queue)

    def nudge_delivery(self, recipient: str) -> bool:
        """Puts a job for a recipient on the queue of deliveries; False as above."""
        return self._publish(DELIVER, [recipient], DELIVERIES)

    def nudge_replay(self, replay_id: int, part: str) -> bool:
        """Puts a job for a part of a replay on the queue of replays; False as above."""
        return self._publish(REPLAY, [replay_id, part], REPLAYS)

    def _publish(self, task: str, arguments: Sequence[object], queue: str) -> bool:
        """Writes the job by Celery's protocol (https://docs.celeryq.dev/en/stable/internals/protocol.html), without
        the detour through `send_task`, which takes twice as long for what a name does not need.
        """
        job = str(uuid.uuid4())
        headers = {"lang": "py", "task": task, "id": job, "root_id": job, "parent_id": None, "group": None}
        try:
            with self._app.producer_pool.acquire(block=True, timeout=2) as producer:
                producer.publish(
                    (arguments, {}, _NOTHING_EMBEDDED),
                    headers=headers,
                    correlation_id=job,
                    routing_key=queue,
                    exchange="",
                    serializer="json",
                    retry=False,
                )
        except UNREACHABLE as error:
            log.warning("job not queued", queue=queue, cause=type(error).__name__)
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


class Doorbell:
    """Has recipients called: for one that has a job on the queue already, another would find nothing to do."""

    def __init__(self, dispatcher: Dispatcher, notices: Notices) -> None:
        self._dispatcher = dispatcher
        self._notices = notices

    def ring(self, recipients: Iterable[str]) -> int:
        """After the commit of what is due to them; returns how many jobs it queued."""
        return sum(self._ring(recipient) for recipient in set(recipients))

    def _ring(self, recipient: str) -> bool:
        if not self._notices.ring(recipient):
            return False
        if self._dispatcher.nudge_delivery(recipient):
            return True
        self._notices.heed(recipient)
        return False

    def heed(self, recipient: str) -> None:
        """The job has begun: what is due from now on needs another."""
        self._notices.heed(recipient)


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


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker, which carries out one kind of job; `at_once` in threads, or one at a time in its main thread.

    `begun` is what it tells of itself with each sign of life: what hangs begins nothing. When a signal ends it, it is
    to `stop`; jobs that it can `give_up` have a moment to end by themselves then.
    """

    name: str
    queues: str
    task: str
    job: Job
    at_once: int
    begun: Callable[[], int]
    stop: Callable[[], object] = lambda: None
    give_up: Callable[[], object] | None = None

    def work(self, app: celery.Celery, notices: Notices) -> NoReturn:
        """Works until a signal ends it, and the process with it."""
        app.task(name=self.task)(_contained(self.job))
        signals.worker_shutting_down.connect(lambda **_: self._end_soon(), weak=False)
        signals.worker_ready.connect(lambda **_: self._beat_for_ever(notices), weak=False)
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        pool = ["solo"] if self.at_once == 1 else ["threads", "--concurrency", str(self.at_once)]
        app.worker_main(["--quiet", "worker", "-n", self.name, "-Q", self.queues, *quiet, "--pool", *pool])
        self._end()

    def _end_soon(self) -> None:
        self.stop()
        if self.give_up is not None:
            last = threading.Timer(LAST_CALLS_SECONDS, self._end)
            last.daemon = True
            last.start()

    def _end(self) -> NoReturn:
        """At once: to take an interpreter apart takes a second that there may not be, and waits for its threads."""
        try:
            if self.give_up is not None:
                self.give_up()
        except DatabaseUnavailable as error:
            log.warning("database unavailable", cause=str(error))
        finally:
            logging.shutdown()
            os._exit(0)

    def _beat_for_ever(self, notices: Notices) -> None:
        def beat() -> None:
            while True:
                notices.beat(self.name, self.begun())
                time.sleep(BEAT_SECONDS)

        threading.Thread(target=beat, name="beat", daemon=True).start()


def _contained(job: Job) -> Job:
    """A job that fails harms no other: what it should have done is still due."""

    def run(*arguments: Any) -> None:
        try:
            job(*arguments)
        except DatabaseUnavailable as error:
            log.error("database unavailable", cause=str(error))
        except Exception as error:  # noqa: BLE001 - its text may hold what a message says
            log.error("job failed", cause=type(error).__name__, at=places_of(error))

    return run
