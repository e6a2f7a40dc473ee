"""What a worker of replays is made of: jobs, each a turn at a part of a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gateway import garbage, routing, terms
from gateway.checking import Checking
from gateway.errors import DatabaseUnavailable
from gateway.fhir.message import Ourselves
from gateway.in_hand import InHand
from gateway.jobs import REPLAY, REPLAYS, Dispatcher, Doorbell, Worker, celery_app
from gateway.logs import set_up_logs
from gateway.notices import Notices
from gateway.performing import Performer
from gateway.replay import document
from gateway.replay.applying import Applying
from gateway.replay.model import SENDS, Replay
from gateway.replay.resending import Resending
from gateway.replay.rounds import Here
from gateway.replay.running import Carrying, Runner
from gateway.replay.trying import Trying
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import deliveries, replay_items, replays
from gateway.store.database import Database
from gateway.store.inbox import Waiting
from gateway.terms import Standing


class Holding(Protocol):
    """What is held around a message: `gateway.worker.Hand`."""

    def __call__(self, head: Waiting) -> AbstractContextManager[object]: ...

    def take_overdue(self) -> Waiting | None:
        """The message that took too long since this was last asked."""


Hands = Callable[[Callable[[Waiting], str]], Holding]
"""Makes what is held around messages, from what is to be written down of each."""
_NOTHING = "-"


class Replayer:
    """Carries out jobs of replays, in one process."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        standing: Standing,
        in_force: Settings,
        dispatcher: Dispatcher,
        notices: Notices,
        in_hand: InHand,
        hands: Hands,
    ) -> None:
        self._database = database
        self._registry = registry
        self._standing = standing
        self._dispatcher = dispatcher
        self._notices = notices
        self._doorbell = Doorbell(dispatcher, notices)
        self._in_hand = in_hand
        self._here: Here | None = None
        self._part = ""
        self.begun = 0
        self._ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)
        self._hand = hands(self._name_of)
        self._performer = Performer(database, registry, self._ourselves, Checking(in_force), standing, self._hand)
        self._runner = Runner(database, self._find, self._enter, _carrying, in_force.lane_seconds)

    def take_over(self) -> None:
        """Counts that this worker died with an item in hand, in its life before."""
        found = (self._in_hand.find() or "").split(" ")
        if len(found) == 3:
            replay_id, part, position = found
            part = "" if part == _NOTHING else part
            self._database.attempt(
                lambda connection: replay_items.count_death(connection, int(replay_id), part, int(position))
            )
        self._in_hand.put_down()

    def replay(self, replay_id: int, part: str) -> None:
        """A job: a turn at a part, and another job if there is more of it."""
        self.begun += 1
        self._part = part
        self._hand.take_overdue()
        try:
            has_more = self._runner.run(replay_id, part)
        except DatabaseUnavailable:
            if self._hand.take_overdue() is None:
                raise
            # It was stopped in the middle of a statement, which its connection did not survive: as if it had died.
            self.take_over()
            has_more = True
        finally:
            self._in_hand.put_down()
        if has_more:
            self._dispatcher.nudge_replay(replay_id, part)

    def _find(self, replay_id: int) -> Replay:
        with self._database.reading() as connection:
            row = replays.find(connection, replay_id)
        if row is None:
            raise LookupError(f"no replay {replay_id}")
        return document.read(row)

    def _enter(self, replay: Replay, pace: Callable[[int], None]) -> Here:
        self._here = Here(
            self._database,
            self._registry,
            self._ourselves,
            self._standing,
            self._performer,
            replay,
            self._part,
            pace,
            self._announce,
            self._doorbell.ring,
        )
        return self._here

    def _name_of(self, head: Waiting) -> str:
        """What is written down of a message before it is carried out."""
        self.begun += 1
        here = self._here
        position = here.places.get(id(head)) if here else None
        return "" if here is None or position is None else f"{here.replay.id} {here.part or _NOTHING} {position}"

    def _announce(self, message_ids: Sequence[int]) -> None:
        """To who waits for an answer on a connection, and who is told of what came of it."""
        self._notices.announce(message_ids)
        with self._database.reading() as connection:
            recipients = deliveries.find_told(connection, message_ids) if message_ids else []
        self._doorbell.ring(recipients)


def _carrying(here: Here) -> Carrying:
    if here.replay.mode in SENDS:
        return Resending(here)
    return Trying(here) if here.replay.mode == "dry-run" else Applying(here)


def work(name: str, in_force: Settings, notices: Notices, hands: Callable[[InHand], Hands]) -> None:
    """One worker as a program, which carries out its jobs one at a time. `hands`: see Hands."""
    set_up_logs(in_force)
    app = celery_app(in_force)
    registry = routing.load(in_force.handlers)
    database = Database(in_force.database_url)
    in_hand = InHand(in_force.var / f"{name}.in-hand")
    standing = terms.Registered(in_force, database)
    dispatcher = Dispatcher(app, in_force)
    made = hands(in_hand)
    replayer = Replayer(database, registry, standing, in_force, dispatcher, notices, in_hand, made)
    try:
        replayer.take_over()
    except DatabaseUnavailable:
        raise SystemExit(1) from None
    garbage.spare_loaded()
    Worker(name, REPLAYS, REPLAY, replayer.replay, 1, lambda: replayer.begun).work(app, notices)
