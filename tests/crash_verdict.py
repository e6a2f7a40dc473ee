"""The verdict on a crash run: what the database holds, beside what the clients were told and what must come of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from gateway.store.database import Database
from gateway.store.schema import message, outbox, resource, resource_version
from tests.crash_clients import Ledger, OrderLog, Sent

_ORDER = "http://hospital.example/identifier/order"
_CANCELLATION = "http://hospital.example/identifier/cancellation"


@dataclass(frozen=True)
class Row:
    """A message in the inbox, with its reply."""

    id: int
    header_id: str
    body: bytes
    state: str
    attempts: int
    code: str | None
    reply: bytes | None


@dataclass(frozen=True)
class Version:
    """A version of a Task, and the message that made it."""

    number: int
    message_id: int
    task: dict[str, Any]


class Kept:
    """Everything that the gateway kept, read at the end."""

    def __init__(self, database_url: str) -> None:
        database = Database(database_url)
        with database.reading() as connection:
            self.inbox = [Row(*row) for row in connection.execute(_INBOX)]
            self.replies = connection.scalar(sa.select(sa.func.count()).where(_IS_REPLY)) or 0
            self.told: Counter[int] = Counter(connection.execute(_TOLD).scalars())
            self.versions: Counter[int] = Counter(connection.execute(_MADE_BY).scalars())
            tasks: dict[str, list[Version]] = defaultdict(list)
            for resource_id, number, message_id, content in connection.execute(_TASKS):
                tasks[resource_id].append(Version(number, message_id, orjson.loads(content)))
        database.close()
        self.tasks = {_name(versions[0].task): versions for versions in tasks.values()}
        self.task_count = len(tasks)


_IS_REPLY = outbox.c.kind == "reply"
_TOLD = sa.select(outbox.c.message_id).where(~_IS_REPLY)
_INBOX = (
    sa.select(
        message.c.id,
        message.c.header_id,
        message.c.body,
        message.c.state,
        message.c.attempts,
        outbox.c.response_code,
        outbox.c.content,
    )
    .select_from(message.outerjoin(outbox, (outbox.c.message_id == message.c.id) & _IS_REPLY))
    .order_by(message.c.id)
)
_MADE_BY = sa.select(resource_version.c.message_id)
_TASKS = (
    sa.select(
        resource_version.c.resource_id,
        resource_version.c.version,
        resource_version.c.message_id,
        resource_version.c.content,
    )
    .join(resource, resource.c.id == resource_version.c.resource_id)
    .where(resource.c.type == "Task")
    .order_by(resource_version.c.resource_id, resource_version.c.version)
)


def _name(task: dict[str, Any]) -> str:
    """What an order's Task, or its cancellation request's, is called: by its number."""
    named: dict[str, str] = {
        identifier["system"]: identifier["value"].rsplit("-", 1)[-1] for identifier in task["identifier"]
    }
    return named[_ORDER] if _ORDER in named else "cancellation of " + named[_CANCELLATION]


def judge(ledger: Ledger, kept: Kept) -> list[str]:
    """Every way in which what is kept differs from what it should be; empty when the promise was kept."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in kept.inbox:
        rows[row.header_id].append(row)
    return [
        *ledger.violations,
        *_inbox(ledger, rows),
        *(wrong for sent in ledger.sent for row in rows[sent.header_id][:1] for wrong in _message(sent, row, kept)),
        *(wrong for order in ledger.orders for wrong in _order(order, rows, kept)),
        *_totals(ledger, kept),
    ]


def _inbox(ledger: Ledger, rows: dict[str, list[Row]]) -> Iterator[str]:
    for sent in ledger.sent:
        found = rows[sent.header_id]
        if sent.acknowledged and len(found) != 1:
            yield f"{sent.header_id}: acknowledged, and {len(found)} times in the inbox"
    unknown = rows.keys() - {sent.header_id for sent in ledger.sent}
    yield from (f"{header_id}: in the inbox, and was never sent" for header_id in unknown)


def _message(sent: Sent, row: Row, kept: Kept) -> Iterator[str]:
    if row.body != sent.body:
        yield f"{sent.header_id}: not kept byte for byte"
    if row.state != "done":
        yield f"{sent.header_id}: {row.state} after {row.attempts} attempts"
    if row.code != sent.code or row.reply is None:
        yield f"{sent.header_id}: the reply kept is {row.code}, not {sent.code}"
    elif any(answer != row.reply for answer in sent.answers):
        yield f"{sent.header_id}: answered with {len(sent.answers)} different replies, or another than was kept"
    if sent.code != "ok" and kept.versions[row.id]:
        yield f"{sent.header_id}: refused, and yet made {kept.versions[row.id]} versions"
    if kept.told[row.id] != (kept.versions[row.id] > 0):
        yield f"{sent.header_id}: the other party was told {kept.told[row.id]} times"


def _order(order: OrderLog, rows: dict[str, list[Row]], kept: Kept) -> Iterator[str]:
    """The order's Task has exactly the versions that its messages should have made, in the order they were sent."""
    expected = [(sent.header_id, sent.status) for sent in order.sent if sent.status is not None]
    versions = kept.tasks.get(order.number, [])
    made_by = {row.id: row.header_id for found in rows.values() for row in found}
    actual = [(made_by.get(version.message_id), version.task["status"]) for version in versions]
    if actual != expected:
        yield f"order {order.number}: versions are {actual}, not {expected}"
    makers = [version.message_id for version in versions]
    if makers != sorted(set(makers)):
        yield f"order {order.number}: its versions were made out of order, by {makers}"
    cancellation = kept.tasks.get(f"cancellation of {order.number}", [])
    ended = cancellation[-1].task["status"] if cancellation else None
    if ended != order.cancellation:
        yield f"order {order.number}: its cancellation request is {ended}, not {order.cancellation}"


def _totals(ledger: Ledger, kept: Kept) -> Iterator[str]:
    if kept.replies != len(ledger.sent):
        yield f"{len(ledger.sent)} messages and {kept.replies} replies"
    tasks = len(ledger.orders) + sum(order.cancellation is not None for order in ledger.orders)
    if kept.task_count != tasks:
        yield f"{kept.task_count} Tasks are kept, not {tasks}"
