"""What is due to be delivered: claimed by one process at a time, in order within a lane, with each attempt as a row.

A claim is a lease: it counts the attempt, and who has it may finish it only until another has claimed the same. In the
lane of a recipient the lowest id that is due goes first, and holds back the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from gateway.fhir.definitions import Version
from gateway.store import circuits
from gateway.store.schema import CLAIMED, DUE, NEXT, QUEUED, REPLY, TOLD, Instant, delivery_attempt, outbox
from gateway.store.statements import Statement, insert

State = Literal["due", "queued", "delivered", "dead"]
Head = tuple[int, str]
"""The id of an entry, and its lane."""
_DUE = sa.text(f"outbox.{DUE}")
_ITS = outbox.c.recipient == sa.bindparam("recipient")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one process has in hand; the names are the columns'. `attempts` counts this one too."""

    id: int
    recipient: str
    lane: str
    kind: str
    subscription_id: str
    destination: str | None
    header_id: str
    format: str
    version: Version
    content: bytes
    attempts: int
    failures: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process was given. `more`: something else could be claimed beside it. `is_probe`: nothing else may."""

    entry: Claimed
    more: bool
    is_probe: bool


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims (`name`), for how long, how many the recipient takes at once, and the lane after which to look."""

    name: str
    until: datetime
    at_once: int
    after: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call; the names are the columns'."""

    started_at: datetime
    milliseconds: int
    outcome: str
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an entry: `due` again at a time, or at an end. `failures`: how far it is on its schedule."""

    state: State
    due_at: datetime | None
    error: str | None
    failures: int


_HOLD = Statement(
    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("recipient", type_=sa.Text), 1)))
)


def hold(connection: sa.Connection, recipient: str) -> None:
    """Has the recipient's entries to itself until the transaction ends; on SQLite nobody else writes anyway."""
    if connection.dialect.name == "postgresql":
        _HOLD.run(connection, {"recipient": recipient})


_NOW = sa.bindparam("now", type_=Instant)
_IS_FREE = sa.and_(outbox.c.due_at <= _NOW, sa.or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= _NOW))


# One look-up in the index, past all that waits behind the head before; a lane more is another look-up.
_NEXT_HEAD = Statement(
    sa.select(outbox.c.id, outbox.c.lane, sa.case((_IS_FREE, 1), else_=0))
    .where(_DUE, _ITS, outbox.c.lane > sa.bindparam("after"))
    .order_by(outbox.c.lane, outbox.c.id)
    .limit(1)
)
_MOST_LANES = 300
_IN_HAND = Statement(
    sa.select(sa.func.count())
    .select_from(outbox)
    .where(_ITS, sa.text(f"outbox.{CLAIMED}"), outbox.c.claimed_until > _NOW)
)
_CLAIM = Statement(
    sa.update(outbox)
    .where(outbox.c.id == sa.bindparam("entry_id"), _DUE, _IS_FREE)
    .values(
        attempts=outbox.c.attempts + 1,
        claimed_until=sa.bindparam("until", type_=Instant),
        claimed_by=sa.bindparam("by"),
    )
    .returning(*(outbox.c[name] for name in Claimed.__slots__))
)


def claim(connection: sa.Connection, recipient: str, claimant: Claimant, now: datetime) -> tuple[Claim | None, str]:
    """Takes the head of the next lane that is due, in a transaction that holds the recipient; and where to look next.

    None: nothing is due, as many as the recipient takes are in hand, or it is not to be called now.
    """
    circuit = circuits.find(connection, recipient)
    if circuit is not None and circuit.probe_at is not None and circuit.probe_at > now:
        return None, claimant.after
    is_probe = circuit is not None and circuit.wants_probes
    [(in_hand,)] = _IN_HAND.run(connection, {"recipient": recipient, "now": now})
    if in_hand >= claimant.at_once:
        return None, claimant.after
    heads, reached = _find_heads(connection, recipient, claimant.after, now)
    if not heads:
        return None, reached
    (head, lane), *others = heads
    rows = _CLAIM.run(connection, {"entry_id": head, "until": claimant.until, "by": claimant.name, "now": now})
    if not rows:
        return None, lane
    if is_probe:
        circuits.take_probe(connection, recipient, claimant.until)
    more = bool(others) and in_hand + 1 < claimant.at_once and not is_probe
    return Claim(Claimed(*rows[0]), more, is_probe), lane


def _find_heads(connection: sa.Connection, recipient: str, after: str, now: datetime) -> tuple[list[Head], str]:
    """Two at most, of so many lanes after one, and then from the first on; and the lane that was looked at last."""
    found: list[Head] = []
    lane, has_turned = after, False
    for _ in range(_MOST_LANES):
        rows = _NEXT_HEAD.run(connection, {"recipient": recipient, "after": lane, "now": now})
        if rows and not (has_turned and rows[0][1] > after):
            entry_id, lane, is_free = rows[0]
            found += [(entry_id, lane)] if is_free else []
        elif has_turned or not after:
            return found, lane if rows else ""
        else:
            lane, has_turned = "", True
        if len(found) > 1:
            break
    return found, lane


_FINISH = Statement(
    sa.update(outbox)
    .where(
        outbox.c.id == sa.bindparam("entry_id"),
        outbox.c.attempts == sa.bindparam("attempt"),
        outbox.c.claimed_by.is_not(None),
        _DUE,
    )
    .values(
        state=sa.bindparam("to"),
        due_at=sa.bindparam("next", type_=Instant),
        error=sa.bindparam("cause"),
        failures=sa.bindparam("failed"),
        delivered_at=sa.bindparam("delivered", type_=Instant),
        claimed_until=None,
        claimed_by=None,
    )
    .returning(outbox.c.id)
)
_ADD_ATTEMPT = Statement(
    lambda name: (
        insert(delivery_attempt, name)
        .values({column.name: sa.bindparam(column.name) for column in delivery_attempt.c})
        .on_conflict_do_nothing()
    )
)


def finish(connection: sa.Connection, entry: Claimed, attempt: Attempt | None, verdict: Verdict, now: datetime) -> bool:
    """Keeps the attempt and what becomes of the entry; False when the claim was lost: to another process, to the
    operator, or to a response that has come meanwhile."""
    if attempt is not None:
        values = {name: getattr(attempt, name) for name in Attempt.__slots__}
        _ADD_ATTEMPT.run(connection, {"outbox_id": entry.id, "number": entry.attempts, **values})
    values = {
        "entry_id": entry.id,
        "attempt": entry.attempts,
        "to": verdict.state,
        "next": verdict.due_at,
        "cause": verdict.error,
        "failed": verdict.failures,
        "delivered": now if verdict.state == "delivered" else None,
    }
    return bool(_FINISH.run(connection, values))


def release(connection: sa.Connection, name: str) -> int:
    """Gives back what a process had in hand when it died, in its life before."""
    its = sa.and_(sa.text(f"outbox.{CLAIMED}"), _DUE, outbox.c.claimed_by == name)
    return connection.execute(sa.update(outbox).where(its).values(claimed_until=None, claimed_by=None)).rowcount


def expire(connection: sa.Connection, recipient: str, before: datetime, error: str, limit: int) -> list[str]:
    """Sets aside what has been due since before a time and is in nobody's hand, `limit` at most.

    Returns the id of the subscription that each belongs to, empty where it belongs to none.
    """
    waiting = (
        sa.select(outbox.c.id)
        .where(_DUE, outbox.c.recipient == recipient, outbox.c.due_at <= before, outbox.c.claimed_until.is_(None))
        .order_by(outbox.c.due_at)
        .limit(limit)
    )
    expired = sa.update(outbox).where(outbox.c.id.in_(waiting)).values(state="dead", error=error, due_at=None)
    return list(connection.scalars(expired.returning(outbox.c.subscription_id)))


def abandon(connection: sa.Connection, recipients: Sequence[str], error: str) -> int:
    """Sets aside all that recipients have not got; who has it in hand has lost it. Returns how much that is."""
    not_got = (sa.and_(sa.text(where), outbox.c.recipient.in_(recipients)) for where in (DUE, QUEUED))
    gone = {"state": "dead", "error": error, "due_at": None, "claimed_until": None, "claimed_by": None}
    return connection.execute(sa.update(outbox).where(sa.or_(*not_got)).values(gone)).rowcount


# Written as single look-ups: each recipient costs a few, however much is due to it.
_DUE_RECIPIENTS = sa.text(
    f"""
    WITH RECURSIVE waiting (recipient) AS (
        SELECT (SELECT min(recipient) FROM outbox WHERE {DUE} AND recipient > :after)
        UNION ALL
        SELECT (SELECT min(recipient) FROM outbox WHERE {DUE} AND recipient > waiting.recipient)
        FROM waiting WHERE waiting.recipient IS NOT NULL
    )
    SELECT waiting.recipient FROM waiting LEFT JOIN circuit ON circuit.recipient = waiting.recipient
    WHERE waiting.recipient IS NOT NULL
        AND (circuit.probe_at IS NULL OR circuit.probe_at <= :now)
        AND (SELECT min(due_at) FROM outbox WHERE {NEXT} AND outbox.recipient = waiting.recipient) <= :now
    LIMIT :most
    """  # noqa: S608 - DUE is ours
).bindparams(_NOW)


def find_due_recipients(connection: sa.Connection, now: datetime, limit: int, after: str = "") -> list[str]:
    """To whom something is due, but for those that are not to be called now; the first so many after one, by name."""
    return list(connection.scalars(_DUE_RECIPIENTS, {"now": now, "most": limit, "after": after}))


def find_told(connection: sa.Connection, message_ids: Sequence[int]) -> list[str]:
    """To whom something is due that comes of these messages."""
    of_them = (outbox.c.message_id.in_(message_ids), _DUE)
    told, replies = (sa.select(outbox.c.recipient).where(sa.text(f"outbox.{kind}"), *of_them) for kind in (TOLD, REPLY))
    return list(connection.scalars(told.union(replies)))
