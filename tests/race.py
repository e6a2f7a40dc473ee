"""`make race`: two parties race about one order, on two connections, and never leave a contradiction.

    python -m tests.race [--rounds 10000] [--database both]

Each side is a process of its own that receives and processes messages on the same database. In each round both send at
the same moment, or nearly; afterwards what is kept, and what each was answered, must be one of the ways in which it can
have gone one after the other. Says what differs, and exits with 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.store import database as store
from gateway.store import schema
from gateway.store.database import Database
from handlers.rules.cancelling import outcome_of
from tests import services
from tests.handlers import CANCELLATION, Gateway
from tests.orders import Order, focus_of

Resource = dict[str, Any]
Answer = tuple[str, tuple[str, ...]]
"""What a side was answered: `ok` or `fatal-error`, and the outcomes of a cancellation in it."""
Way = tuple[Answer, Answer, tuple[str, ...]]
"""How a round can go: the two answers, and the statuses of the order and of its cancellation requests afterwards."""

OK, REFUSED = "ok", "fatal-error"
_AT_ONCE = 60
_WIDEST = 0.004
"""The most by which one side begins later, in seconds: about as long as a message takes."""


@dataclass(frozen=True)
class Race:
    """Two messages that meet: what is there before them, and every way in which the two can go one after the other."""

    name: str
    before: tuple[str, ...]
    sides: tuple[str, str]
    ways: tuple[Way, ...]


_BEGUN = ("new", "accepted", "in-progress")
RACES = (
    Race(
        "completed / cancellation request",
        _BEGUN,
        ("completed", "first requested"),
        (
            ((OK, ()), (REFUSED, ("too-late-completed",)), ("completed",)),
            ((OK, ("too-late-completed",)), (OK, ("pending",)), ("completed", "first rejected too-late-completed")),
        ),
    ),
    Race(
        "completed / acceptance of the cancellation",
        (*_BEGUN, "first requested"),
        ("completed", "first accepted"),
        (
            (
                (OK, ("too-late-completed",)),
                (REFUSED, ("too-late-completed",)),
                ("completed", "first rejected too-late-completed"),
            ),
            ((REFUSED, ()), (OK, ("accepted",)), ("cancelled", "first completed accepted")),
        ),
    ),
    Race(
        "cancellation request / cancellation request",
        _BEGUN,
        ("first requested", "second requested"),
        (
            ((OK, ("pending",)), (REFUSED, ("already-pending",)), ("in-progress", "first requested pending")),
            ((REFUSED, ("already-pending",)), (OK, ("pending",)), ("in-progress", "second requested pending")),
        ),
    ),
    Race(
        "acceptance of the cancellation / its withdrawal",
        (*_BEGUN, "first requested"),
        ("first accepted", "first cancelled"),
        (
            ((OK, ("accepted",)), (REFUSED, ("accepted",)), ("cancelled", "first completed accepted")),
            ((REFUSED, ("withdrawn",)), (OK, ("withdrawn",)), ("in-progress", "first cancelled withdrawn")),
        ),
    ),
    Race(
        "new order / cancellation request that overtakes it",
        (),
        ("new", "first requested"),
        (
            ((OK, ()), (OK, ("cancelled",)), ("cancelled", "first completed cancelled")),
            ((OK, ("cancelled",)), (OK, ("held",)), ("cancelled", "first completed cancelled")),
        ),
    ),
)


@dataclass
class Result:
    """What a run on one database came to: how often each race went each way, and what went in no way."""

    database: str
    went: dict[str, Counter[int]] = field(default_factory=lambda: {race.name: Counter() for race in RACES})
    contradictions: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Side:
    """One side of the races: a process with a connection of its own."""

    def __init__(self, url: str, start: Barrier, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_take_part, args=(url, theirs, start, seed), daemon=True)
        self._process.start()

    def ask(self, together: bool, bundles: Sequence[Resource]) -> None:
        """Has it send messages one after the other; or each `together` with the other side's."""
        self._pipe.send((together, bundles))

    def answers(self) -> list[Answer]:
        found: list[Answer] = self._pipe.recv()
        return found

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


class Runner(Gateway):
    """A gateway that does not judge each reply: at the end of a test all are."""

    def judge(self, content: bytes) -> None:
        pass


def _take_part(url: str, pipe: Pipe, start: Barrier, seed: int) -> None:
    gateway, delays = Runner(url), random.Random(seed)
    while (asked := pipe.recv()) is not None:
        together, bundles = asked
        answers: list[Answer] = []
        for bundle in bundles:
            if together:
                start.wait(120)
                time.sleep(delays.choice((0.0, delays.uniform(0.0, _WIDEST))))
            reply = gateway.send(bundle)
            answers.append((reply.code, tuple(reply.outcomes)))
        pipe.send(answers)
    gateway.close()


def run(url: str, rounds: int, name: str, seed: int = 0) -> Result:
    """So many rounds, each race in its turn."""
    result, started = Result(name), time.monotonic()
    start = multiprocessing.get_context("spawn").Barrier(2)
    sides = [Side(url, start, seed + number) for number in range(2)]
    gateway = Runner(url)
    for first in range(0, rounds, _AT_ONCE):
        races = [RACES[number % len(RACES)] for number in range(first, min(first + _AT_ONCE, rounds))]
        _run_some(sides, [(race, Order()) for race in races], gateway, result)
    for side in sides:
        side.close()
    gateway.close()
    result.contradictions += _broken_histories(url)
    result.seconds = time.monotonic() - started
    return result


def _run_some(sides: Sequence[Side], rounds: Sequence[tuple[Race, Order]], gateway: Gateway, result: Result) -> None:
    for number, side in enumerate(sides):
        mine = rounds[number :: len(sides)]
        side.ask(False, [_message(step, order) for race, order in mine for step in race.before])
    for side in sides:
        wrong = [answer for answer in side.answers() if answer[0] != OK]
        assert not wrong, f"an order could not be brought to where its race begins: {wrong}"
    for number, side in enumerate(sides):
        side.ask(True, [_message(race.sides[number], order) for race, order in rounds])
    answers = zip(*(side.answers() for side in sides), strict=True)
    for (race, order), (one, other) in zip(rounds, answers, strict=True):
        _judge(race, order, (one, other, _kept(gateway, order)), gateway, result)


def _message(step: str, order: Order) -> Resource:
    """What a step sends: the order, its status, or which request of it and the status of that."""
    if step == "new":
        return order.new_order()
    which, _, status = step.partition(" ")
    if not status:
        return order.update(step)
    bundle = order.cancellation_request(status)
    focus_of(bundle)["identifier"][0]["value"] = _request(order, which)[1]
    return bundle


def _request(order: Order, which: str) -> tuple[str, str]:
    """What a cancellation request is known by."""
    return CANCELLATION[0], f"{CANCELLATION[1]}-{order.number}{'' if which == 'first' else '-2'}"


def _kept(gateway: Gateway, order: Order) -> tuple[str, ...]:
    """The order's status, and of each cancellation request that is kept: which, its status, its outcome."""
    found = {which: gateway.find("Task", _request(order, which)) for which in ("first", "second")}
    requests = [
        f"{which} {request.resource['status']} {outcome_of(request).value}"
        for which, request in found.items()
        if request
    ]
    return gateway.get("Task", order.identifier).resource["status"], *requests


def _judge(race: Race, order: Order, way: Way, gateway: Gateway, result: Result) -> None:
    if way not in race.ways:
        result.contradictions.append(f"{race.name}, order {order.number}: {way}")
        return
    result.went[race.name][race.ways.index(way)] += 1
    kept = gateway.get("Task", order.identifier)
    listed = gateway.find_own("List", f"open-cancellation-request|{kept.reference}")
    items = listed.resource.get("entry", []) if listed else []
    if len(items) != sum(status.endswith("pending") for status in way[2][1:]):
        result.contradictions.append(f"{race.name}, order {order.number}: {len(items)} requests are listed as open")


def _broken_histories(url: str) -> list[str]:
    """Tasks whose versions are not 1, 2, 3 … up to the current one, and messages that are not done."""
    history, current = schema.resource_version.c, schema.resource.c
    counted = (
        sa.select(current.type, current.id)
        .join_from(schema.resource, schema.resource_version, history.resource_id == current.id)
        .group_by(current.type, current.id, current.version)
        .having(
            sa.or_(
                sa.func.count() != current.version,
                sa.func.min(history.version) != 1,
                sa.func.max(history.version) != current.version,
            )
        )
    )
    waiting = sa.select(schema.message.c.id, schema.message.c.state).where(schema.message.c.state != "done")
    database = Database(url)
    with database.reading() as connection:
        broken = [f"the history of {kind}/{one} has gaps" for kind, one in connection.execute(counted)]
        broken += [f"message {one} is {state}" for one, state in connection.execute(waiting)]
    database.close()
    return broken


@contextmanager
def opened(kind: str) -> Iterator[str]:
    """The URL of a fresh database of a kind, with the schema in it."""
    with ExitStack() as stack:
        if kind == "sqlite":
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="race-"))
            url = stack.enter_context(services.sqlite_database(Path(directory)))
        else:
            server = stack.enter_context(services.postgres_server())
            url = stack.enter_context(services.postgres_database(server))
        store.upgrade(url)
        yield url


def _show(result: Result, console: Console) -> None:
    table = Table(title=f"{result.database}: {sum(map(Counter.total, result.went.values()))} rounds sound")
    for heading in ("race", "first way", "second way"):
        table.add_column(heading)
    for name, went in result.went.items():
        table.add_row(name, *(str(went[number]) for number in range(2)))
    console.print(table)
    console.print(f"{len(result.contradictions)} contradictions, {result.seconds:.0f} s")
    for contradiction in result.contradictions[:20]:
        console.print(contradiction)


def main() -> int:
    """0 when no round left a contradiction, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    console, results = Console(), []
    for kind in ("sqlite", "postgresql") if given.database == "both" else (given.database,):
        with opened(kind) as url:
            results.append(run(url, given.rounds, kind, given.seed))
        _show(results[-1], console)
    return 1 if any(result.contradictions for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
