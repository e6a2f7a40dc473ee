"""The sweep queues again whatever is due: jobs are lost, brokers restart, retries fall due; the reminder does so for
what is to be delivered, and the sweep of replays for those. The clock tells the gateway what falls due in the Tasks
themselves. The watchdog tells a worker that hangs."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog

from gateway import metrics, routing, settings, terms
from gateway.errors import Conflict, DatabaseUnavailable
from gateway.fhir import json
from gateway.fhir.message import Ourselves, read_message
from gateway.fhir.task.deadlines import DEADLINE, deadline_message
from gateway.jobs import DELIVERIES, REPLAYS, UNREACHABLE, Dispatcher, Doorbell, celery_app
from gateway.logs import places_of, set_up_logs
from gateway.notices import Notices
from gateway.receiving import Submission, receive
from gateway.recipients import find_partner
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import deadlines, deliveries, inbox, replays
from gateway.store.database import Database
from gateway.store.deadlines import Due
from gateway.subscriptions import Heartbeats
from gateway.terms import Standing

log = structlog.get_logger()

Kind = Literal["worker", "deliverer", "replayer"]
_NUDGE_AGAIN_AFTER = timedelta(seconds=2)
_LANES_A_SWEEP = 1000
_REPLAY_AGAIN_AFTER = timedelta(seconds=5)
_PARTS_A_SWEEP = 256
_RECIPIENTS_A_SWEEP = 1000
_SHORT_QUEUE = 50
_DEADLINES_A_ROUND = 200


class Sweep:
    """Queues again every lane that is due and that no job took."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher

    def run(self, now: datetime) -> int:
        """One round; returns how many lanes it queued. A queue that is long already gets nothing more."""
        return sum(self._queue_due(queue, now) for queue in self._dispatcher.queues() if self._has_room(queue))

    def _queue_due(self, queue: str, now: datetime) -> int:
        events = self._dispatcher.events_of(queue)
        with self._database.transaction() as connection:
            lanes = inbox.take_due_lanes(connection, now, now - _NUDGE_AGAIN_AFTER, events, _LANES_A_SWEEP)
        return sum(self._dispatcher.nudge([lane], queue) for lane in lanes)

    def _has_room(self, queue: str) -> bool:
        try:
            return self._dispatcher.queue_length(queue) < _SHORT_QUEUE
        except UNREACHABLE:
            return False


class ReplaySweep:
    """Queues again the parts of replays that nobody has in hand, and ends the replays that are through."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
        self._dispatcher = dispatcher

    def run(self, now: datetime) -> int:
        """One round; returns how many parts it queued. While any wait in the queue, none is lost."""
        with self._database.reading() as connection:
            if not replays.has_running(connection):
                return 0
        if self._dispatcher.queue_length(REPLAYS):
            return 0
        with self._database.transaction() as connection:
            replays.finish(connection, now)
            due = replays.take_due_parts(connection, now, now - _REPLAY_AGAIN_AFTER, _PARTS_A_SWEEP)
        return sum(self._dispatcher.nudge_replay(replay_id, part) for replay_id, part in due)


class Reminder:
    """Has every recipient called again to whom something is due; one that does not work when its next probe is."""

    def __init__(self, database: Database, standing: Standing, dispatcher: Dispatcher, doorbell: Doorbell) -> None:
        self._database = database
        self._standing = standing
        self._dispatcher = dispatcher
        self._doorbell = doorbell
        self._after = ""

    def run(self, now: datetime) -> int:
        """One round; returns how many recipients it had called. Those for whom it has no room, the next one has."""
        try:
            queued = self._dispatcher.queue_length(DELIVERIES)
        except UNREACHABLE:
            return 0
        if queued >= _SHORT_QUEUE:
            return 0
        with self._database.reading() as connection:
            recipients = deliveries.find_due_recipients(connection, now, _RECIPIENTS_A_SWEEP, self._after)
        self._after = recipients[-1] if len(recipients) == _RECIPIENTS_A_SWEEP else ""
        partners = self._standing.current().partners
        found = [(recipient, find_partner(recipient, partners)) for recipient in recipients]
        active = [name for name, partner in found if partner is None or partner.state == "active"]
        random.shuffle(active)  # where there is not room for all of them, each has its chance
        if not queued:  # who has been rung for has no job any more: one that was lost holds nobody up
            for name in active:
                self._doorbell.heed(name)
        return self._doorbell.ring(active)


class Clock:
    """Sends the gateway a message for each Task whose time has come; from there it goes as any other message does."""

    def __init__(self, database: Database, registry: Registry, ourselves: Ourselves, dispatcher: Dispatcher) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._dispatcher = dispatcher

    def run(self, now: datetime) -> int:
        """One round; returns how many messages were new. What it has no time for, the next round has.

        A Task is due until its message is kept: two clocks, or one that stops in between, make one message of it.
        """
        with self._database.reading() as connection:
            due = deadlines.find_due(connection, now, _DEADLINES_A_ROUND)
        sent = {one: lane for one in due if (lane := self._try_to_submit(one, now)) is not None}
        if sent:
            with self._database.transaction() as connection:
                deadlines.take_note(connection, sent)
        lanes = [lane for lane in sent.values() if lane]
        for lane in lanes:
            self._dispatcher.nudge([lane], self._dispatcher.queue_of(DEADLINE[1]))
        return len(lanes)

    def _try_to_submit(self, due: Due, now: datetime) -> str | None:
        """As `_submit`; None for one that fails, which must not hold up the others and stays due."""
        try:
            return self._submit(due, now)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is about one Task, the others' time has come too
            log.error("deadline not sent", task=due.id, cause=type(error).__name__, at=places_of(error))
            return None

    def _submit(self, due: Due, now: datetime) -> str:
        """The lane of the message; empty when it was sent before."""
        bundle = deadline_message(due.id, due.version, self._ourselves.base_url, self._ourselves.endpoint, now)
        own_id: str = bundle["id"]
        given = Submission(json.serialize(bundle), "application/fhir+json", "json", None, False, own_id)
        received = receive(self._database, self._registry, self._ourselves, read_message(bundle, now), given)
        return received.lane if received.kind == "new" else ""


def sweep_forever() -> None:
    """The sweep, the clock and the reminder as a program; it outlives a database or a broker that is away."""
    in_force = settings.load()
    set_up_logs(in_force)
    database, dispatcher = Database(in_force.database_url), Dispatcher(celery_app(in_force), in_force)
    sweep, replay_sweep = Sweep(database, dispatcher), ReplaySweep(database, dispatcher)
    ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)
    clock = Clock(database, routing.load(in_force.handlers), ourselves, dispatcher)
    doorbell = Doorbell(dispatcher, Notices(in_force.redis_url))
    standing = terms.Registered(in_force, database)
    reminder = Reminder(database, standing, dispatcher, doorbell)
    heartbeats = Heartbeats(database, in_force.base_url, standing)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # an exception may come where it is ignored: in __del__
    if in_force.metrics_port:
        _serve_metrics(in_force)
    while True:
        for round_of in (sweep.run, clock.run, heartbeats.run, reminder.run, replay_sweep.run):
            try:
                round_of(datetime.now(UTC))
            except (Conflict, DatabaseUnavailable, *UNREACHABLE) as error:
                log.warning("sweep failed", cause=type(error).__name__)
        time.sleep(in_force.sweep_interval)


def _serve_metrics(in_force: Settings) -> None:
    try:
        metrics.serve(in_force.host, in_force.metrics_port)
    except OSError as error:
        log.error("metrics not served", port=in_force.metrics_port, cause=error.strerror)


class Watchdog:
    """Tells a worker that hangs from one that has nothing to do: jobs wait in its queues, and it begins none."""

    def __init__(self, name: str, in_force: Settings, patience: float = 20.0, kind: Kind = "worker") -> None:
        self._name = name
        self._queues = {"worker": in_force.queue_names, "deliverer": (DELIVERIES,), "replayer": (REPLAYS,)}[kind]
        self._dispatcher = Dispatcher(celery_app(in_force), in_force)
        self._notices = Notices(in_force.redis_url, kind)
        self._patience = patience + in_force.handler_timeout
        self._begun = -1
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
            has_begun, self._begun = beat.begun != self._begun, beat.begun
            return has_begun or not any(self._dispatcher.queue_length(queue) for queue in self._queues)
        except UNREACHABLE:
            return True

    def close(self) -> None:
        self._dispatcher.close()
        self._notices.close()
