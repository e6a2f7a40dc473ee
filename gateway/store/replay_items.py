"""The items of replays: chosen, put in their order, and decided, one round after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.store.replay_schema import replay_file, replay_item
from gateway.store.schema import message, outbox
from gateway.store.selections import BEFORE, Selection, of_inbox, of_outbox, with_reply
from gateway.store.statements import Statement

_FEW, _MANY = 200, 100_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be carried out, at its place in the order of its part."""

    position: int
    message_id: int | None
    outbox_id: int | None
    file_number: int | None
    lane: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of an item. `made_id` is the message that was made of it, or the entry that sends it again."""

    position: int
    outcome: str
    detail: str | None = None
    made_id: int | None = None
    changes: str | None = None
    message_id: int | None = None


def letters_of(items: int) -> int:
    """By how many letters of their lanes so many items are told apart: 1, 16 or 256 parts."""
    return 0 if items <= _FEW else 1 if items <= _MANY else 2


# --- choosing ---------------------------------------------------------------------------------------------------------


def choose_messages(
    connection: sa.Connection, replay_id: int, selection: Selection, limit: int | None, *, by_lane: bool
) -> int:
    """Makes the messages that are meant the items of a replay, in the order of their receipt; returns how many.

    `by_lane`: those of one lane follow each other.
    """
    conditions = of_inbox(selection)
    chosen = sa.select(message.c.id, message.c.lane, BEFORE.label("before")).select_from(with_reply).where(*conditions)
    return _choose(connection, replay_id, chosen.order_by(message.c.id).limit(limit), "message_id", by_lane=by_lane)


def choose_entries(connection: sa.Connection, replay_id: int, selection: Selection, limit: int | None) -> int:
    """As `choose_messages`, of the outbox."""
    c = outbox.c
    chosen = sa.select(c.id, sa.func.coalesce(c.lane, "").label("lane"), c.state.label("before"))
    chosen = chosen.where(*of_outbox(selection)).order_by(c.id).limit(limit)
    return _choose(connection, replay_id, chosen, "outbox_id", by_lane=False)


def _choose(connection: sa.Connection, replay_id: int, chosen: sa.Select[Any], of: str, *, by_lane: bool) -> int:
    items = connection.scalar(sa.select(sa.func.count()).select_from(chosen.subquery())) or 0
    one = chosen.subquery()
    part = sa.func.substr(one.c.lane, 1, letters_of(items))
    position = sa.func.row_number().over(order_by=(one.c.lane, one.c.id)) if by_lane else one.c.id
    rows = sa.select(sa.literal(replay_id), part, position, one.c.id, one.c.before)
    names = ["replay_id", "part", "position", of, "before"]
    connection.execute(sa.insert(replay_item).from_select(names, rows))
    _analyze(connection)
    return items


def _analyze(connection: sa.Connection) -> None:
    """PostgreSQL would else plan for one item of a new replay, and go through whole tables for each."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("ANALYZE replay_item"))


def find_missing(connection: sa.Connection, replay_id: int, ids: Iterable[str]) -> list[str]:
    """The ids, of those that were asked for, that no item of a replay has."""
    m = message.alias()
    asked = list(ids)
    numbers = [int(one) for one in asked if one.isascii() and one.isdigit() and len(one) <= 18]
    i = replay_item.c
    found = (
        sa.select(m.c.id, m.c.bundle_id, m.c.header_id)
        .join(replay_item, sa.and_(i.replay_id == replay_id, i.message_id == m.c.id))
        .where(sa.or_(m.c.id.in_(numbers), m.c.bundle_id.in_(asked), m.c.header_id.in_(asked)))
    )
    there = {str(name) for row in connection.execute(found) for name in row}
    return [one for one in asked if one not in there]


def add(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Items as they are; all have the same columns."""
    if rows:
        connection.execute(sa.insert(replay_item), [dict(row) for row in rows])


def gather(connection: sa.Connection, replay_id: int) -> None:
    """Puts the items of a lane one after the other, in the order that they have."""
    i = replay_item.c
    its = i.replay_id == replay_id
    last = sa.select(sa.func.max(i.position)).where(its).scalar_subquery()
    place = last + sa.func.row_number().over(order_by=(sa.func.coalesce(i.lane, ""), i.position))
    placed = sa.select(i.part, i.position, place.label("place")).where(its).subquery()
    at = sa.and_(its, i.part == placed.c.part, i.position == placed.c.position)
    connection.execute(sa.update(replay_item).where(at).values(position=placed.c.place))


# --- what is forecast -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """Items of one kind: `partner` is the one that has proved to be the sender, or that was sent to."""

    event: str
    sender: str
    partner: str | None
    before: str
    items: int
    first: datetime | None
    last: datetime | None


def count_messages(connection: sa.Connection, replay_id: int) -> Iterator[Counted]:
    """The kinds of messages of the inbox that a replay has, those of which there are most first."""
    m, i = message.c, replay_item.c
    kind = (m.event_code, m.sender, m.partner, i.before)
    counted = (
        sa.select(*kind, sa.func.count(), sa.func.min(m.received_at), sa.func.max(m.received_at))
        .join_from(replay_item, message, m.id == i.message_id)
        .where(i.replay_id == replay_id)
        .group_by(*kind)
        .order_by(sa.func.count().desc(), *kind)
    )
    return (Counted(*row) for row in connection.execute(counted))


def find_events(connection: sa.Connection, replay_id: int) -> list[str]:
    """The codes of the events of the messages that a replay has."""
    found = (
        sa.select(message.c.event_code)
        .distinct()
        .join_from(replay_item, message, message.c.id == replay_item.c.message_id)
    )
    return list(connection.scalars(found.where(replay_item.c.replay_id == replay_id)))


def count_overtaken(connection: sa.Connection, replay_id: int) -> int:
    """How many dead messages of a replay have been overtaken: a later one of the same lane took effect."""
    later, i = message.alias("later"), replay_item.c
    is_overtaken = sa.exists().where(later.c.lane == message.c.lane, later.c.id > message.c.id, later.c.state == "done")
    counted = (
        sa.select(sa.func.count())
        .select_from(replay_item.join(message, message.c.id == i.message_id))
        .where(i.replay_id == replay_id, i.before == "dead", is_overtaken)
    )
    return connection.scalar(counted) or 0


# --- rounds -----------------------------------------------------------------------------------------------------------


_WINDOW = Statement(
    sa.select(*(replay_item.c[name] for name in Item.__slots__))
    .where(
        replay_item.c.replay_id == sa.bindparam("replay_id"),
        replay_item.c.part == sa.bindparam("part"),
        replay_item.c.position > sa.bindparam("after"),
        replay_item.c.outcome.is_(None),
    )
    .order_by(replay_item.c.position)
    .limit(sa.bindparam("most"))
)


def find_window(connection: sa.Connection, replay_id: int, part: str, after: int, most: int) -> list[Item]:
    """The next items of a part that have no outcome yet."""
    values = {"replay_id": replay_id, "part": part, "after": after, "most": most}
    return [Item(*row) for row in _WINDOW.run(connection, values)]


def decide(connection: sa.Connection, replay_id: int, part: str, decided: Sequence[Decided]) -> None:
    """Records what became of items; all of the same outcome and detail, which made nothing, with one statement."""
    alike: dict[tuple[str, str | None], list[int]] = {}
    for one in decided:
        if one.made_id is None and one.changes is None and one.message_id is None:
            alike.setdefault((one.outcome, one.detail), []).append(one.position)
    i = replay_item.c
    of_part = sa.update(replay_item).where(i.replay_id == replay_id, i.part == part)
    for (outcome, detail), positions in alike.items():
        for start in range(0, len(positions), _AT_ONCE):
            of_them = of_part.where(i.position.in_(positions[start : start + _AT_ONCE]))
            connection.execute(of_them.values(outcome=outcome, detail=detail))
    single = [
        one for one in decided if one.made_id is not None or one.changes is not None or one.message_id is not None
    ]
    if single:
        _DECIDE.run_each(
            connection,
            [
                {
                    "of_replay": replay_id,
                    "of_part": part,
                    "at": one.position,
                    "outcome": one.outcome,
                    "detail": one.detail,
                    "made_id": one.made_id,
                    "changes": one.changes,
                    "message_id": one.message_id,
                }
                for one in single
            ],
        )


_DECIDE = Statement(
    sa.update(replay_item)
    .where(
        replay_item.c.replay_id == sa.bindparam("of_replay"),
        replay_item.c.part == sa.bindparam("of_part"),
        replay_item.c.position == sa.bindparam("at"),
    )
    .values(
        outcome=sa.bindparam("outcome"),
        detail=sa.bindparam("detail"),
        made_id=sa.bindparam("made_id"),
        changes=sa.bindparam("changes"),
        message_id=sa.func.coalesce(sa.bindparam("message_id", type_=sa.BigInteger), replay_item.c.message_id),
    )
)


def find_left_lanes(connection: sa.Connection, replay_id: int, part: str, before: int) -> set[str]:
    """The lanes of the items of a part before a position that were left as they were."""
    i = replay_item.c
    its = sa.and_(i.replay_id == replay_id, i.part == part, i.position < before, i.outcome == "left")
    left = connection.execute(sa.select(i.lane, i.message_id).where(its)).all()
    ids = [message_id for lane, message_id in left if lane is None and message_id is not None]
    found = {lane for lane, _ in left if lane is not None}
    for start in range(0, len(ids), _AT_ONCE):
        of_them = message.c.id.in_(ids[start : start + _AT_ONCE])
        found.update(connection.scalars(sa.select(message.c.lane).where(of_them)))
    return found


def count_death(connection: sa.Connection, replay_id: int, part: str, position: int) -> None:
    """Counts that a worker died that had an item in hand."""
    i = replay_item.c
    its = sa.and_(i.replay_id == replay_id, i.part == part, i.position == position, i.outcome.is_(None))
    connection.execute(sa.update(replay_item).where(its).values(attempts=i.attempts + 1))


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A message that came in a file, or a file that is none; `arrival` is JSON."""

    number: int
    name: str
    sort_at: datetime | None
    digests: bytes | None
    arrival: str | None
    problem: str | None


def add_files(connection: sa.Connection, replay_id: int, files: Sequence[tuple[File, bytes | None]]) -> None:
    """Each with its body."""
    rows = [
        {"replay_id": replay_id, "body": body, **{name: getattr(file, name) for name in File.__slots__}}
        for file, body in files
    ]
    if rows:
        connection.execute(sa.insert(replay_file), rows)


def files_in_order(
    connection: sa.Connection, replay_id: int, after: tuple[datetime, int] | None, most: int
) -> list[File]:
    """The files of a replay in the order of their time, and of their reading; after one, at most so many."""
    c = replay_file.c
    found = sa.select(*(c[name] for name in File.__slots__)).where(c.replay_id == replay_id)
    if after is not None:
        at, number = after
        found = found.where(sa.or_(c.sort_at > at, sa.and_(c.sort_at == at, c.number > number)))
    return [File(*row) for row in connection.execute(found.order_by(c.sort_at, c.number).limit(most))]


def find_bodies(connection: sa.Connection, replay_id: int, numbers: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    """The arrival (JSON) and the bytes of files, by their numbers."""
    c = replay_file.c
    found = sa.select(c.number, c.arrival, c.body).where(c.replay_id == replay_id, c.number.in_(numbers))
    return {number: (arrival, bytes(body)) for number, arrival, body in connection.execute(found) if body is not None}


def find_sizes(connection: sa.Connection, replay_id: int, numbers: Sequence[int]) -> dict[int, int]:
    """How many bytes files have, by their numbers."""
    c = replay_file.c
    found: dict[int, int] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        of_them = sa.and_(c.replay_id == replay_id, c.number.in_(numbers[start : start + _AT_ONCE]))
        sizes = sa.select(c.number, sa.func.coalesce(sa.func.length(c.body), 0)).where(of_them)
        found |= {number: size for number, size in connection.execute(sizes)}  # noqa: C416 - a row is no pair
    return found


def forget_bodies(connection: sa.Connection, replay_id: int, part: str, positions: Sequence[int]) -> None:
    """The bytes of the files of items that have an outcome: the inbox has them by now, or nobody needs them."""
    i, f = replay_item.c, replay_file.c
    for start in range(0, len(positions), _AT_ONCE):
        at = i.position.in_(positions[start : start + _AT_ONCE])
        numbers = sa.select(i.file_number).where(i.replay_id == replay_id, i.part == part, at)
        of_them = sa.and_(f.replay_id == replay_id, f.number.in_(numbers))
        connection.execute(sa.update(replay_file).where(of_them).values(body=None))
