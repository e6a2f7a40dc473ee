"""The circuits: how often calls of a recipient have failed in a row, and since when it is called by probes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from gateway.store.schema import circuit
from gateway.store.statements import Insert, Statement, insert

OPENS_AFTER = 5
"""Failures in a row."""
LONGEST_PAUSE = 300.0
"""Seconds between two probes, at most."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """`opened_at` None: closed. Before `probe_at` the recipient is not called; afterwards an open one gets a probe.

    `outbox_id` is the entry that all the failures were of, if they were of one: the fault may be its own, so another
    may be the probe at once.
    """

    recipient: str
    failures: int
    opened_at: datetime | None
    probe_at: datetime | None
    cause: str | None
    outbox_id: int | None


_COLUMNS = [circuit.c[name] for name in Circuit.__slots__]
_ITS = circuit.c.recipient == sa.bindparam("recipient")
_FIND = Statement(sa.select(*_COLUMNS).where(_ITS))
_CLOSE = Statement(
    sa.delete(circuit)
    .where(_ITS, sa.or_(circuit.c.failures > 0, circuit.c.probe_at <= sa.bindparam("now")))
    .returning(*_COLUMNS)
)


def find(connection: sa.Connection, recipient: str) -> Circuit | None:
    rows = _FIND.run(connection, {"recipient": recipient})
    return Circuit(*rows[0]) if rows else None


def close(connection: sa.Connection, recipient: str, now: datetime) -> Circuit | None:
    """To be called when the recipient has answered; returns its circuit if that was open."""
    rows = _CLOSE.run(connection, {"recipient": recipient, "now": now})
    closed = Circuit(*rows[0]) if rows else None
    return closed if closed and closed.opened_at else None


def _count_one_more(adding: Insert) -> sa.UpdateBase:
    names = ("recipient", "cause", "outbox_id")
    values = adding.values(failures=1, **{name: sa.bindparam(name) for name in names})
    is_of_one = sa.or_(circuit.c.failures == 0, circuit.c.outbox_id == adding.excluded.outbox_id)
    more = {
        "failures": circuit.c.failures + 1,
        "cause": adding.excluded.cause,
        "outbox_id": sa.case((is_of_one, adding.excluded.outbox_id)),
    }
    counted = values.on_conflict_do_update(index_elements=["recipient"], set_=more)
    return counted.returning(*_COLUMNS)


_COUNT = Statement(lambda name: _count_one_more(insert(circuit, name)))


def fail(
    connection: sa.Connection,
    recipient: str,
    outbox_id: int,
    cause: str,
    now: datetime,
    pauses: Sequence[float],
    *,
    is_probe: bool,
) -> Circuit | None:
    """Counts a call that failed, of an entry; returns the circuit if that has opened it.

    While it is open only probes count: what was under way when it opened says nothing new. `pauses` are the seconds
    before each probe, the last of them before all that come later.
    """
    known = find(connection, recipient)
    if known is not None and known.opened_at is not None and not is_probe:
        return None
    [row] = _COUNT.run(connection, {"recipient": recipient, "cause": cause, "outbox_id": outbox_id})
    counted = Circuit(*row)
    if counted.failures < OPENS_AFTER:
        return None
    opens = {"opened_at": counted.opened_at or now, "probe_at": now + _pause(counted.failures, pauses)}
    connection.execute(sa.update(circuit).where(circuit.c.recipient == recipient).values(opens))
    return find(connection, recipient) if counted.opened_at is None else None


def hold(connection: sa.Connection, recipient: str, until: datetime) -> None:
    """The recipient is not called until then: it has asked for that."""
    values = {"recipient": recipient, "failures": 0, "probe_at": until}
    adding = insert(circuit, connection.dialect.name).values(values)
    held = {"probe_at": until, "outbox_id": None}
    connection.execute(adding.on_conflict_do_update(index_elements=["recipient"], set_=held))


def take_probe(connection: sa.Connection, recipient: str, outbox_id: int, until: datetime) -> None:
    """There is no other probe until then, unless this one has ended."""
    its = sa.update(circuit).where(circuit.c.recipient == recipient)
    connection.execute(its.values(probe_at=until, outbox_id=sa.case((circuit.c.outbox_id == outbox_id, outbox_id))))


def forget(connection: sa.Connection, recipients: Sequence[str]) -> None:
    connection.execute(sa.delete(circuit).where(circuit.c.recipient.in_(recipients)))


def list_open(connection: sa.Connection) -> list[Circuit]:
    opened = sa.select(*_COLUMNS).where(circuit.c.opened_at.is_not(None)).order_by(circuit.c.opened_at)
    return [Circuit(*row) for row in connection.execute(opened)]


def _pause(failures: int, pauses: Sequence[float]) -> timedelta:
    pause = pauses[min(failures - OPENS_AFTER, len(pauses) - 1)]
    return timedelta(seconds=min(pause, LONGEST_PAUSE))
