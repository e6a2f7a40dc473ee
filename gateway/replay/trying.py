"""`dry-run`: all messages of a Task are carried out in one transaction, which is undone; what changed is reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import orjson

from gateway.errors import DatabaseUnavailable, TookTooLong
from gateway.fhir.differences import differences
from gateway.performing import Performed, keep
from gateway.replay.applying import Applying, Work, reason
from gateway.replay.rounds import DIED, MOST_DEATHS, WINDOW, Here, Known, Round
from gateway.store import inbox, replaying
from gateway.store.database import Connection, savepoint
from gateway.store.replay_items import Decided, Item

MOST_LINES = 60
"""Lines that are reported of one message."""


class _Undone(Exception):  # noqa: N818 - nobody's error
    """The end of a transaction of which nothing is to stay."""


class Trying:
    """Tries the items of a replay, those of a lane one after the other: each on what those before it would leave."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._applying = Applying(here)

    def rounds(self, items: Sequence[Item]) -> Iterator[Round]:
        works, decided = self._applying.sort(items)
        if decided:
            yield Known(decided)
        lanes = [list(lane) for _, lane in groupby(works, key=lambda work: work.lane)]
        if len(items) == WINDOW and len(lanes) > 1:
            lanes.pop()  # it may go on beyond the window: it is seen as a whole in the next
        for lane in lanes:
            self._here.pace(len(lane))
            yield Known(self._try(lane))

    def _try(self, lane: Sequence[Work]) -> list[Decided]:
        decided: list[Decided] = []
        try:
            with self._here.database.transaction() as connection:
                for work in lane:
                    decided.append(self._try_one(connection, work))
                raise _Undone
        except _Undone:
            return decided

    def _try_one(self, connection: Connection, work: Work) -> Decided:
        if work.item.attempts >= MOST_DEATHS:
            return Decided(work.item.position, "failed", DIED)
        ready, _, decided = self._applying.prepare([work])
        if not ready:
            return replace(decided[0], message_id=None)
        head = ready[0].head
        assert head is not None
        self._here.perform_at([(head, work.item.position)])
        at = work.item.position
        try:
            with savepoint(connection):
                [result] = self._here.performer.perform([head], replayed="dry-run")
                if not isinstance(result, Performed):
                    raise result
                self._keep(connection, ready[0], result)
        except DatabaseUnavailable:
            raise
        except (Exception, TookTooLong) as error:  # noqa: BLE001 - whatever it is, it is what would happen
            return Decided(at, "failed", type(error).__name__)
        if result.outcome != "ok":
            return Decided(at, "refused", reason(result))
        return Decided(at, "ok", changes=_changes(result))

    def _keep(self, connection: Connection, work: Work, performed: Performed) -> None:
        """So that the next message of the lane sees it."""
        if work.arrival is None:
            message_id = performed.head.id
            replaying.take(connection, [message_id], self._here.replay.id, performed.now)
        else:
            arrival = replace(work.arrival, lane=work.lane or work.arrival.lane, state="done")
            added = inbox.add(connection, arrival)
            assert added is not None, "it is new, and nobody else is in this transaction"
            message_id = added
        keep(connection, [(performed, message_id)], effects="suppress")


def _changes(performed: Performed) -> str:
    """In JSON: of each resource its address, whether it is new, and the lines that tell what changes; who is told."""
    said: list[dict[str, Any]] = []
    left = MOST_LINES
    for before, after in performed.changes:
        lines = differences(before.resource if before else None, after.resource)
        if after.resource_type == "Task" or lines:
            said.append({"resource": after.reference, "isNew": before is None, "lines": lines[:left]})
        left = max(left - len(lines), 0)
    told = sorted({telling.partner.name for telling in performed.told})
    return orjson.dumps({"resources": said, "told": told}).decode()
