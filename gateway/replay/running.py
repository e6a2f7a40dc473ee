"""A part of a replay at work: round after round, each kept in one transaction with what became of its items.

Whoever else has the same part in hand, because a job came twice or a worker was thought dead, keeps nothing: a round
counts only if the part is as it was when it began. docs/replay.md
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import structlog

from gateway import garbage, metrics
from gateway.errors import Conflict, DatabaseUnavailable
from gateway.replay.model import Replay
from gateway.replay.rounds import WINDOW, Here, Round
from gateway.store import replay_items, replays
from gateway.store.database import Connection, Database
from gateway.store.replay_items import Decided, Item
from gateway.store.replays import Part

log = structlog.get_logger()

_ATTEMPTS = 5
_TURN_SECONDS = 0.2


class Carrying(Protocol):
    """How the items of a replay are carried out."""

    def rounds(self, items: Sequence[Item]) -> Iterator[Round]:
        """The rounds of a window of items; each is kept before the next is asked for."""


class _GaveWay(Exception):  # noqa: N818 - nobody's error
    """Somebody else has the part, the replay does not run any more, or the time of the job is over."""


class Runner:
    """Runs parts of replays, for one worker process.

    `enter` makes the gateway that a replay runs in; `carrying` says how its items are carried out in there.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[int], Replay],
        enter: Callable[[Replay, Callable[[int], None]], Here],
        carrying: Callable[[Here], Carrying],
        seconds: float,
    ) -> None:
        self._database = database
        self._find = find
        self._enter = enter
        self._carrying = carrying
        self._seconds = seconds

    def run(self, replay_id: int, part: str) -> bool:
        """Carries out items of a part for a while; returns whether there are more. Raises DatabaseUnavailable."""
        end = time.monotonic() + self._seconds
        replay = self._find(replay_id)
        if replay.state != "running":
            return False
        with suppress(_GaveWay):
            _Turn(self._database, replay, part, end, self._enter, self._carrying).take()
        with self._database.reading() as connection:
            seen = replays.find_part(connection, replay_id, part)
        if seen is not None and seen.remaining == 0:
            self._database.attempt(lambda connection: replays.finish(connection, datetime.now(UTC)))
        return seen is not None and seen.remaining > 0 and self._find(replay_id).state == "running"


class _Turn:
    """A worker's turn at a part."""

    def __init__(
        self,
        database: Database,
        replay: Replay,
        part: str,
        end: float,
        enter: Callable[[Replay, Callable[[int], None]], Here],
        carrying: Callable[[Here], Carrying],
    ) -> None:
        self._database = database
        self._replay = replay
        self._part = part
        self._end = end
        self._carrying = carrying(enter(replay, self._pace))
        self._seen: Part | None = None
        self._reached = replays.FIRST

    def take(self) -> None:
        """Raises _GaveWay."""
        with self._database.reading() as connection:
            self._seen = replays.find_part(connection, self._replay.id, self._part)
        if self._seen is None:
            return
        self._reached = self._seen.position
        while items := self._window():
            decided = sum(map(self._keep, self._carrying.rounds(items)))
            garbage.collect()
            if decided == len(items):
                self._reached = items[-1].position
            self._give_way_when_over()
            if not decided:  # others have them in hand
                time.sleep(_TURN_SECONDS)

    def _window(self) -> list[Item]:
        with self._database.reading() as connection:
            return replay_items.find_window(connection, self._replay.id, self._part, self._reached, WINDOW)

    def _pace(self, messages: int) -> None:
        """Waits until it is the turn of so many. Raises _GaveWay."""
        self._give_way_when_over()
        rate = self._replay.options.rate
        while rate is not None:
            wait = self._database.attempt(
                lambda found: replays.pace(found, self._replay.id, messages, rate, datetime.now(UTC))
            )
            time.sleep(min(abs(wait), _TURN_SECONDS if wait < 0 else 1.0))
            if wait >= 0:
                return
            self._give_way_when_over()

    def _give_way_when_over(self) -> None:
        if time.monotonic() > self._end:
            raise _GaveWay

    def _keep(self, one: Round) -> int:
        """Keeps a round, or all of it one by one; returns how many items have an outcome now. Raises _GaveWay."""
        try:
            return self._keep_once(one)
        except (DatabaseUnavailable, _GaveWay):
            raise
        except Exception:  # noqa: BLE001 - it comes again alone, and is dealt with there
            return sum(map(self._keep_alone, one.singles()))

    def _keep_alone(self, one: Round) -> int:
        last: Exception = Conflict("too many others at the same resources")
        for _ in range(_ATTEMPTS):
            one.redo()
            try:
                return self._keep_once(one)
            except (DatabaseUnavailable, _GaveWay):
                raise
            except Conflict as conflict:
                last = conflict
            except Exception as error:  # noqa: BLE001 - the message is kept, with the cause
                last = error
                break
        return self._record(lambda connection, _now: one.failed(connection, last), lambda _decided: None)

    def _keep_once(self, one: Round) -> int:
        return self._record(one.keep, one.kept)

    def _record(
        self,
        keep: Callable[[Connection, datetime], list[Decided]],
        kept: Callable[[Sequence[Decided]], None],
    ) -> int:
        """Keeps, in one transaction: the effects, the outcomes of the items, how far the part is."""
        replay, seen, now = self._replay, self._seen, datetime.now(UTC)
        assert seen is not None
        with self._database.transaction() as connection:
            if replays.hold(connection, replay.id, alone=replay.options.stop_on_failure) != "running":
                raise _GaveWay
            decided = keep(connection, now)
            replay_items.decide(connection, replay.id, self._part, decided)
            if replay.source == "files":
                replay_items.forget_bodies(connection, replay.id, self._part, [one.position for one in decided])
            counts = Counter(one.outcome for one in decided)
            advanced = replays.advance(connection, seen, self._reached, counts, now)
            if advanced is None:
                raise _GaveWay
            failed = next((one for one in decided if one.outcome == "failed"), None)
            if failed is not None and replay.options.stop_on_failure:
                why = f"stopped at the first failure: {failed.detail or 'see the report'}"
                replays.change(connection, replay.id, ("running",), state="stopped", ended_at=now, why=why)
        self._seen = advanced
        for outcome, number in counts.items():
            metrics.replayed(replay.mode, outcome, number)
        kept(decided)
        return len(decided)
