"""The verdict on replays: what a gateway keeps of a day, beside what it should, and beside what another keeps of it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from gateway.store.database import Connection, Database
from gateway.store.schema import message, outbox, resource, resource_version
from tests import day_messages
from tests.day import Day

_OWN = "urn:x-fhir-gateway:"
_AT_ONCE = 5000
_MOST_SHOWN = 10
_REFERENCE = re.compile(r'"([A-Z][A-Za-z]+/[A-Za-z0-9\-]{36})"')
_MADE_HERE = re.compile(r'"(?!2026-03-0)\d{4}-\d\d-\d\dT[^"]+"')
"""A moment that is not of the day: the gateway's own."""


class State(NamedTuple):
    """A resource as it is in the end: without what each gateway makes by itself (ids, addresses, moments)."""

    versions: int
    content: str


@dataclass(frozen=True)
class Counts:
    """How many rows there are of each kind: what must not grow when nothing is to take effect."""

    messages: int
    versions: int
    outbox: int


class Kept:
    """Everything that a gateway keeps of a day.

    `resources` are the states of those with an identifier, by it; `outcomes` what became of each message;
    `told` how often each party was told of it; `twice` what has happened twice, in words.
    """

    def __init__(self, database_url: str) -> None:
        with closing(Database(database_url)) as database, database.transaction() as connection:
            self.counts = count(connection)
            named = {row.id: _said(row) for row in _rows(connection, _NAMES)}
            self.outcomes = _outcomes(connection)
            self.resources = _resources(connection)
            self.told = Counter((named[row.message_id], row.kind, row.party) for row in _rows(connection, _TOLD))
            self.twice = list(_twice(connection))

    @property
    def tasks(self) -> int:
        return sum(name.startswith("Task ") for name in self.resources)


def header_of(said: str) -> str:
    """The MessageHeader.id of a message, as `Kept.outcomes` names it."""
    return said.partition(" ")[0]


_NAMES = sa.select(message.c.id, message.c.header_id, message.c.content_hash).order_by(message.c.id)
_IS_REPLY = outbox.c.kind == "reply"
_TOLD = sa.select(outbox.c.message_id, outbox.c.kind, outbox.c.party).where(
    ~_IS_REPLY, outbox.c.message_id.is_not(None)
)
_OUTCOMES = (
    sa.select(message.c.header_id, message.c.content_hash, message.c.state, outbox.c.response_code)
    .select_from(message.outerjoin(outbox, (outbox.c.message_id == message.c.id) & _IS_REPLY))
    .order_by(message.c.id)
)
_IDS = (
    sa.select(resource.c.id, resource.c.type, resource.c.version, resource_version.c.content)
    .join(
        resource_version,
        sa.and_(resource_version.c.resource_id == resource.c.id, resource_version.c.version == resource.c.version),
    )
    .order_by(resource.c.number)
)


def count(connection: Connection) -> Counts:
    tables = (message, resource_version, outbox)
    return Counts(*(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables))


def _rows(connection: Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    return iter(connection.execution_options(yield_per=_AT_ONCE).execute(statement))


def _said(row: Any) -> str:
    """A message as its sender knows it: its MessageHeader.id, and how the hash of its content begins."""
    return f"{row.header_id} {row.content_hash.hex()[:12]}"


def _outcomes(connection: Connection) -> dict[str, str]:
    """`ok`, `fatal-error`, or the state of a message that has no reply."""
    return {_said(row): row.response_code or row.state for row in _rows(connection, _OUTCOMES)}


def _resources(connection: Connection) -> dict[str, State]:
    names: dict[str, str] = {}
    for row in _rows(connection, _IDS):
        names[f"{row.type}/{row.id}"] = _name(row.type, orjson.loads(row.content))
    found: dict[str, State] = {}
    clashing: Counter[str] = Counter()
    for row in _rows(connection, _IDS):
        name = names[f"{row.type}/{row.id}"]
        if not name:
            continue
        clashing[name] += 1
        shown = name if clashing[name] == 1 else f"{name} ({clashing[name]})"
        found[shown] = State(row.version, _plain(orjson.loads(row.content), names))
    return found


def _name(kind: str, content: dict[str, Any]) -> str:
    """What a resource is called by everybody; nothing for what the gateway keeps for itself."""
    identifiers = [one for one in content.get("identifier", ()) if not one.get("system", "").startswith(_OWN)]
    return f"{kind} {identifiers[0]['system']}|{identifiers[0]['value']}" if identifiers else ""


def _plain(content: dict[str, Any], names: Mapping[str, str]) -> str:
    own = {name: value for name, value in content.items() if name not in ("id", "meta")}
    text = orjson.dumps(own, option=orjson.OPT_SORT_KEYS).decode()
    text = _REFERENCE.sub(lambda found: f'"{names.get(found[1], found[1])}"', text)
    return _MADE_HERE.sub('"a moment"', text)


_REPLIES = (
    sa.select(message.c.id, message.c.state, sa.func.count(outbox.c.id).label("replies"))
    .select_from(message.outerjoin(outbox, (outbox.c.message_id == message.c.id) & _IS_REPLY))
    .group_by(message.c.id, message.c.state)
    .having(sa.func.count(outbox.c.id) != 1)
)
_VERSIONS = (
    sa.select(resource_version.c.resource_id, resource_version.c.message_id)
    .group_by(resource_version.c.resource_id, resource_version.c.message_id)
    .having(sa.func.count() > 1)
)
_SAID_TWICE = (
    sa.select(message.c.header_id).group_by(message.c.header_id, message.c.content_hash).having(sa.func.count() > 1)
)
_TOLD_TWICE = (
    sa.select(outbox.c.message_id, outbox.c.party)
    .where(~_IS_REPLY, outbox.c.message_id.is_not(None))
    .group_by(outbox.c.message_id, outbox.c.party, outbox.c.subscription_id)
    .having(sa.func.count() > 1)
)
_GAPS = (
    sa.select(resource.c.id)
    .join(resource_version, resource_version.c.resource_id == resource.c.id)
    .group_by(resource.c.id, resource.c.version)
    .having(sa.func.count() != resource.c.version)
)


def _twice(connection: Connection) -> Iterator[str]:
    for row in _rows(connection, _REPLIES):
        yield f"message {row.id} ({row.state}) has {row.replies} replies"
    for row in _rows(connection, _VERSIONS):
        yield f"message {row.message_id} has made two versions of {row.resource_id}"
    for row in _rows(connection, _SAID_TWICE):
        yield f"the message {row.header_id} is in the inbox twice"
    for row in _rows(connection, _TOLD_TWICE):
        yield f"{row.party} is told twice of message {row.message_id}"
    for row in _rows(connection, _GAPS):
        yield f"the versions of {row.id} are not 1, 2, 3 …"


# --- beside what it should be -----------------------------------------------------------------------------------------


def against_day(kept: Kept, day: Day) -> list[str]:
    """How what is kept differs from what the day says of itself; nothing when the gateway has done as it should."""
    return [
        *kept.twice[:_MOST_SHOWN],
        *_shortened(_wrong_outcomes(kept, day)),
        *_shortened(_wrong_statuses(kept, day)),
    ]


def _wrong_outcomes(kept: Kept, day: Day) -> Iterator[str]:
    codes: dict[str, list[str]] = defaultdict(list)
    for name, code in kept.outcomes.items():
        codes[header_of(name)].append(code)
    wanted: dict[str, list[str]] = defaultdict(list)
    for said in day.said:
        if said.how in (None, "conflict"):
            wanted[day_messages.header_id(said)].append("fatal-error" if said.is_refused else "ok")
    for name in codes.keys() | wanted.keys():
        if Counter(codes[name]) != Counter(wanted[name]):
            yield f"the message {name} came to {codes[name]}, and should to {wanted[name]}"


def _wrong_statuses(kept: Kept, day: Day) -> Iterator[str]:
    for task, status in day.statuses.items():
        state = kept.resources.get(f"Task {day_messages.ORDER}|{day_messages.order_number(task)}")
        found = orjson.loads(state.content)["status"] if state else None
        if found != status:
            yield f"order {task} is {found}, and should be {status}"


def against_each_other(live: Kept, replayed: Kept) -> list[str]:
    """How two gateways differ that were sent the same day, one live and one by a replay."""
    return [
        *replayed.twice[:_MOST_SHOWN],
        *_shortened(_other(live.outcomes, replayed.outcomes, "message")),
        *_shortened(_other(live.resources, replayed.resources, "state of")),
        *_shortened(_other(live.told, replayed.told, "telling of")),
    ]


def _other(live: Mapping[Any, Any], replayed: Mapping[Any, Any], what: str) -> Iterator[str]:
    for name in live.keys() | replayed.keys():
        one, other = live.get(name), replayed.get(name)
        if one != other:
            yield f"{what} {name}: live {one}; replayed {other}"


def _shortened(violations: Iterable[str]) -> Iterator[str]:
    """The first of many, and how many there are."""
    number = 0
    for number, violation in enumerate(violations, 1):
        if number <= _MOST_SHOWN:
            yield violation[:2000]
    if number > _MOST_SHOWN:
        yield f"and {number - _MOST_SHOWN} more like these"
