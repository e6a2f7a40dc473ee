"""The circuits: how often calls of a recipient have failed in a row, and since when it is called by probes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from gateway.store.schema import Instant, circuit
from gateway.store.statements import Insert, Statement, insert

OPENS_AFTER = 5
"""Failures in a row: that is trouble; of so many entries, nothing but probes is sent."""
LONGEST_PAUSE = 300.0
"""Seconds between two probes, at most."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """`opened_at` None: it is in no trouble. Before `probe_at` the recipient is not called.

    `failures` are those of entries that had not failed before, and of probes: enough of these, and what is wrong is not
    with some entries, so that nothing but probes is sent. `repeats` are those beside them.
    """

    recipient: str
    failures: int
    repeats: int
    opened_at: datetime | None
    probe_at: datetime | None
    cause: str | None

    @property
    def wants_probes(self) -> bool:
        return self.opened_at is not None and self.probe_at is not None


_COLUMNS = [circuit.c[name] for name in Circuit.__slots__]
_ITS = circuit.c.recipient == sa.bindparam("recipient")
_FIND = Statement(sa.select(*_COLUMNS).where(_ITS))
_CLOSE = Statement(
    sa.delete(circuit)
    .where(
        _ITS,
        sa.or_(circuit.c.failures + circuit.c.repeats > 0, circuit.c.probe_at <= sa.bindparam("now", type_=Instant)),
        sa.or_(circuit.c.opened_at.is_(None), circuit.c.opened_at <= sa.bindparam("began", type_=Instant)),
    )
    .returning(*_COLUMNS)
)


def find(connection: sa.Connection, recipient: str) -> Circuit | None:
    rows = _FIND.run(connection, {"recipient": recipient})
    return Circuit(*rows[0]) if rows else None


def close(connection: sa.Connection, recipient: str, began: datetime, now: datetime) -> Circuit | None:
    """To be called when the recipient has answered a call that began then; returns its circuit if that was open.

    A call that was under way when it opened says nothing new.
    """
    rows = _CLOSE.run(connection, {"recipient": recipient, "began": began, "now": now})
    closed = Circuit(*rows[0]) if rows else None
    return closed if closed and closed.opened_at else None


def _count_one_more(adding: Insert) -> sa.UpdateBase:
    values = adding.values({name: sa.bindparam(name) for name in ("recipient", "cause", "failures", "repeats")})
    more = {name: circuit.c[name] + adding.excluded[name] for name in ("failures", "repeats")}
    counted = values.on_conflict_do_update(index_elements=["recipient"], set_={**more, "cause": adding.excluded.cause})
    return counted.returning(*_COLUMNS)


_COUNT = Statement(lambda name: _count_one_more(insert(circuit, name)))


def fail(
    connection: sa.Connection,
    recipient: str,
    cause: str,
    now: datetime,
    pauses: Sequence[float],
    *,
    is_probe: bool,
    is_repeat: bool,
) -> Circuit | None:
    """Counts a call that failed; returns the circuit if that has opened it.

    While there are probes, only they count: what was under way before says nothing new. `pauses` are the seconds before
    each probe, the last of them before all that come later. `is_repeat`: of an entry that had failed before.
    """
    known = find(connection, recipient)
    if known is not None and known.wants_probes and not is_probe:
        return None
    is_new = is_probe or not is_repeat
    parameters = {"recipient": recipient, "cause": cause, "failures": int(is_new), "repeats": int(not is_new)}
    [row] = _COUNT.run(connection, parameters)
    counted = Circuit(*row)
    if counted.failures + counted.repeats < OPENS_AFTER:
        return None
    probe_at = now + _pause(counted.failures, pauses) if counted.failures >= OPENS_AFTER or is_probe else None
    opens = {"opened_at": counted.opened_at or now, "probe_at": probe_at}
    connection.execute(sa.update(circuit).where(circuit.c.recipient == recipient).values(opens))
    return find(connection, recipient) if counted.opened_at is None else None


def hold(connection: sa.Connection, recipient: str, until: datetime) -> None:
    """The recipient is not called until then: it has asked for that."""
    values = {"recipient": recipient, "failures": 0, "repeats": 0, "probe_at": until}
    adding = insert(circuit, connection.dialect.name).values(values)
    connection.execute(adding.on_conflict_do_update(index_elements=["recipient"], set_={"probe_at": until}))


def take_probe(connection: sa.Connection, recipient: str, until: datetime) -> None:
    """There is no other probe until then, unless this one has ended."""
    connection.execute(sa.update(circuit).where(circuit.c.recipient == recipient).values(probe_at=until))


def forget(connection: sa.Connection, recipients: Sequence[str]) -> None:
    connection.execute(sa.delete(circuit).where(circuit.c.recipient.in_(recipients)))


def list_open(connection: sa.Connection) -> list[Circuit]:
    opened = sa.select(*_COLUMNS).where(circuit.c.opened_at.is_not(None)).order_by(circuit.c.opened_at)
    return [Circuit(*row) for row in connection.execute(opened)]


def _pause(failures: int, pauses: Sequence[float]) -> timedelta:
    pause = pauses[min(max(failures - OPENS_AFTER, 0), len(pauses) - 1)]
    return timedelta(seconds=min(pause, LONGEST_PAUSE))
