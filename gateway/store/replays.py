"""Replays: what they are, their states, their parts, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from gateway.store.replay_schema import replay, replay_file, replay_item, replay_part
from gateway.store.schema import HELD, outbox
from gateway.store.statements import Statement

NEVER_STARTED = ("staging", "planned")
FIRST = -1
"""The position before all items of a part."""


@dataclass(frozen=True, slots=True)
class Row:
    """A replay; the names are the columns', `selection`, `options` and `forecast` are JSON."""

    id: int
    mode: str
    source: str
    selection: str
    options: str
    fingerprint: bytes
    state: str
    items: int
    forecast: str | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    started_by: str | None
    approved_by: str | None
    ended_at: datetime | None
    why: str | None


_COLUMNS = [replay.c[name] for name in Row.__slots__]


def add(connection: sa.Connection, values: dict[str, Any]) -> int:
    """Keeps a new replay; returns its id."""
    added = sa.insert(replay).values(items=0, **values).returning(replay.c.id)
    found: int = connection.execute(added).scalar_one()
    return found


def find(connection: sa.Connection, replay_id: int) -> Row | None:
    row = connection.execute(sa.select(*_COLUMNS).where(replay.c.id == replay_id)).one_or_none()
    return Row(*row) if row else None


def find_same(connection: sa.Connection, fingerprint: bytes) -> Row | None:
    """The last replay of the same words that was started."""
    is_same = sa.and_(replay.c.fingerprint == fingerprint, replay.c.state.not_in(NEVER_STARTED))
    row = connection.execute(sa.select(*_COLUMNS).where(is_same).order_by(replay.c.id.desc()).limit(1)).one_or_none()
    return Row(*row) if row else None


def find_all(connection: sa.Connection, limit: int, before: int | None = None) -> list[Row]:
    """The last ones, the last first; `before` is an id."""
    found = sa.select(*_COLUMNS).order_by(replay.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(replay.c.id < before)
    return [Row(*row) for row in connection.execute(found)]


def change(
    connection: sa.Connection, replay_id: int, states: Sequence[str], *, once: bool = False, **values: Any
) -> bool:
    """Changes a replay, if it is in one of these states; `once`: if none of the same words was ever started."""
    changed = sa.update(replay).where(replay.c.id == replay_id, replay.c.state.in_(states)).values(**values)
    if once:
        other = replay.alias("other")
        is_same = sa.and_(other.c.fingerprint == replay.c.fingerprint, other.c.id != replay.c.id)
        changed = changed.where(sa.not_(sa.exists().where(is_same, other.c.state.not_in(NEVER_STARTED))))
    return connection.execute(changed).rowcount == 1


def discard(connection: sa.Connection, replay_id: int) -> None:
    """Forgets a replay that has done nothing."""
    for table in (replay_item, replay_part, replay_file):
        connection.execute(sa.delete(table).where(table.c.replay_id == replay_id))
    connection.execute(sa.delete(replay).where(replay.c.id == replay_id))


_STATE = sa.select(replay.c.state).where(replay.c.id == sa.bindparam("replay_id"))
_HOLD = Statement(_STATE.with_for_update(read=True))
_HOLD_ALONE = Statement(_STATE.with_for_update())


def hold(connection: sa.Connection, replay_id: int, *, alone: bool) -> str | None:
    """The state of a replay, which nobody changes before the transaction has ended; `alone`: nor holds it."""
    rows = (_HOLD_ALONE if alone else _HOLD).run(connection, {"replay_id": replay_id})
    return rows[0][0] if rows else None


# --- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Items that one worker sees to at a time: up to `position` all have an outcome; `counts` is JSON."""

    replay_id: int
    part: str
    position: int
    remaining: int
    version: int
    counts: str


_PART = Statement(
    sa.select(*(replay_part.c[name] for name in Part.__slots__)).where(
        replay_part.c.replay_id == sa.bindparam("replay_id"), replay_part.c.part == sa.bindparam("part")
    )
)
_ADVANCE = Statement(
    sa.update(replay_part)
    .where(
        replay_part.c.replay_id == sa.bindparam("of_replay"),
        replay_part.c.part == sa.bindparam("of_part"),
        replay_part.c.version == sa.bindparam("seen"),
    )
    .values(
        version=replay_part.c.version + sa.literal_column("1"),
        position=sa.bindparam("position"),
        remaining=sa.bindparam("remaining"),
        counts=sa.bindparam("counts"),
        nudged_at=sa.bindparam("now"),
    )
    .returning(replay_part.c.version)
)


def find_part(connection: sa.Connection, replay_id: int, part: str) -> Part | None:
    rows = _PART.run(connection, {"replay_id": replay_id, "part": part})
    return Part(*rows[0]) if rows else None


def add_parts(connection: sa.Connection, replay_id: int, now: datetime) -> int:
    """Makes the parts of the items that a replay has; returns how many items have no outcome yet."""
    i = replay_item.c
    outcome = sa.func.count(i.outcome)
    counted = (
        sa.select(i.part, sa.func.count(), outcome).where(i.replay_id == replay_id).group_by(i.part).order_by(i.part)
    )
    rows = connection.execute(counted).all()
    decided: dict[str, dict[Any, int]] = {
        part: {row[0]: row[1] for row in connection.execute(_outcomes(replay_id, part))}
        for part, _, known in rows
        if known
    }
    made = [
        {
            "replay_id": replay_id,
            "part": part,
            "position": FIRST,
            "remaining": items - known,
            "version": 0,
            "counts": orjson.dumps(decided.get(part, {})).decode(),
            "nudged_at": now,
        }
        for part, items, known in rows
    ]
    if made:
        connection.execute(sa.insert(replay_part), made)
    return sum(one["remaining"] for one in made)


def _outcomes(replay_id: int, part: str) -> sa.Select[tuple[Any, int]]:
    i = replay_item.c
    of_part = sa.select(i.outcome, sa.func.count()).where(i.replay_id == replay_id, i.part == part)
    return of_part.where(i.outcome.is_not(None)).group_by(i.outcome)


def advance(connection: sa.Connection, seen: Part, position: int, counts: dict[str, int], now: datetime) -> Part | None:
    """Records a round of a part: `counts` are the outcomes of its items. None when somebody else had one meanwhile."""
    told: dict[str, int] = orjson.loads(seen.counts)
    for outcome, number in counts.items():
        told[outcome] = told.get(outcome, 0) + number
    remaining, written = seen.remaining - sum(counts.values()), orjson.dumps(told).decode()
    named = {"of_replay": seen.replay_id, "of_part": seen.part, "seen": seen.version, "now": now}
    values = {"position": position, "remaining": remaining, "counts": written}
    if not _ADVANCE.run(connection, {**values, **named}):
        return None
    return Part(seen.replay_id, seen.part, position, remaining, seen.version + 1, written)


def count(connection: sa.Connection, replay_id: int) -> tuple[dict[str, int], int]:
    """How many items have which outcome, and how many have none yet."""
    p = replay_part.c
    counts: dict[str, int] = {}
    remaining = 0
    for text, left in connection.execute(sa.select(p.counts, p.remaining).where(p.replay_id == replay_id)):
        remaining += left
        for outcome, number in orjson.loads(text).items():
            counts[outcome] = counts.get(outcome, 0) + number
    return counts, remaining


def find_open_parts(connection: sa.Connection, replay_id: int) -> list[str]:
    """The parts of a replay that have items without an outcome."""
    p = replay_part.c
    return list(connection.scalars(sa.select(p.part).where(p.replay_id == replay_id, p.remaining > 0).order_by(p.part)))


def take_due_parts(
    connection: sa.Connection, now: datetime, nudged_before: datetime, limit: int
) -> list[tuple[int, str]]:
    """The parts of running replays that nobody has had in hand since `nudged_before`; marks them nudged now."""
    p = replay_part
    running = sa.select(replay.c.id).where(replay.c.state == "running")
    due = (
        sa.select(p.c.replay_id, p.c.part)
        .where(p.c.replay_id.in_(running), p.c.remaining > 0, p.c.nudged_at <= nudged_before)
        .order_by(p.c.replay_id, p.c.part)
        .limit(limit)
    )
    taken = [(replay_id, part) for replay_id, part in connection.execute(due)]
    for replay_id, part in taken:
        nudged = sa.update(p).where(p.c.replay_id == replay_id, p.c.part == part).values(nudged_at=now)
        connection.execute(nudged)
    return taken


def finish(connection: sa.Connection, now: datetime) -> list[int]:
    """Ends the running replays whose items all have an outcome; returns their ids."""
    p = replay_part.c
    is_left = sa.exists().where(p.replay_id == replay.c.id, p.remaining > 0)
    ended = sa.update(replay).where(replay.c.state == "running", sa.not_(is_left))
    return list(connection.scalars(ended.values(state="done", ended_at=now, why=None).returning(replay.c.id)))


def has_running(connection: sa.Connection) -> bool:
    """Whether any replay is running."""
    return connection.execute(sa.select(replay.c.id).where(replay.c.state == "running").limit(1)).first() is not None


def find_stale(connection: sa.Connection, before: datetime) -> list[int]:
    """The replays that were made before a time, and never started."""
    stale = sa.select(replay.c.id).where(replay.c.state.in_(NEVER_STARTED), replay.c.created_at < before)
    return list(connection.scalars(stale))


def pace(connection: sa.Connection, replay_id: int, messages: int, rate: float, now: datetime) -> float:
    """Books so many messages of a replay with a rate; returns the seconds until it is their turn.

    Nothing is booked where that would be more than a second: 0 less than what is returned then, and asked for anew.
    """
    held = sa.select(replay.c.paced_until).where(replay.c.id == replay_id).with_for_update()
    until = connection.scalar(held)
    begins = max(until or now, now)
    wait = (begins - now).total_seconds()
    if wait > 1.0:
        return -wait
    paced = sa.update(replay).where(replay.c.id == replay_id)
    connection.execute(paced.values(paced_until=begins + timedelta(seconds=messages / rate)))
    return wait


# --- what is held -----------------------------------------------------------------------------------------------------


def count_held(connection: sa.Connection, replay_id: int) -> int:
    held = (
        sa.select(sa.func.count()).select_from(outbox).where(sa.text(f"outbox.{HELD}"), outbox.c.replay_id == replay_id)
    )
    return connection.scalar(held) or 0


def release(connection: sa.Connection, replay_id: int, now: datetime) -> list[str]:
    """Has what a replay holds sent; returns the recipients of what is due now."""
    held = sa.and_(sa.text(f"outbox.{HELD}"), outbox.c.replay_id == replay_id)
    queued = sa.update(outbox).where(held, outbox.c.due_at.is_(None)).values(state="queued")
    connection.execute(queued)
    due = sa.update(outbox).where(held).values(state="due", due_at=now).returning(outbox.c.recipient)
    return sorted({recipient for recipient in connection.scalars(due) if recipient})


def drop(connection: sa.Connection, replay_id: int, error: str) -> int:
    """Sets aside what a replay holds; returns how much that was."""
    held = sa.and_(sa.text(f"outbox.{HELD}"), outbox.c.replay_id == replay_id)
    return connection.execute(sa.update(outbox).where(held).values(state="dead", due_at=None, error=error)).rowcount
