"""What a replay does in a second, how much memory it takes, and what it costs live traffic: part of `make bench`.

    python -m tests.bench_replay [--databases sqlite,postgresql] [--messages 20000] [--memory 100000] [--seconds 10]

The messages are a generated day's (`tests.day`): real, small, about a fifth as many orders. They are in the inbox as
dead, as after an outage, and `fhir-gateway replay` is run as an operator does, beside a whole gateway. A rate is that
of the replay from its start to its end; what goes before (choosing, reading files) has a column of its own. `--memory`
are the messages of the round that shows whether memory grows; 1000000 takes half an hour.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.store import replay_schema
from gateway.store.database import Database
from tests import day_played, live, replays
from tests.bench_load import Clients, Load, template
from tests.day import Day
from tests.live import Gateway
from tests.replays import Run
from tests.services import eventually

DATABASES = ("sqlite", "postgresql")
MESSAGES, MEMORY, SECONDS = 20_000, 100_000, 10.0
_FEW = 1000
_MESSAGES_A_TASK = 5
_CONNECTIONS = 4


@dataclass(frozen=True)
class Figures:
    """One replay: items a second, seconds before it began, CPU seconds of the replayers and of PostgreSQL."""

    database: str
    what: str
    items: int
    rate: float
    before: float
    cpu: float
    run: Run


class Bench:
    """Replays on one gateway, one after the other; each has messages that were never there before."""

    def __init__(self, database: str, url: str, gateway: Gateway, directory: Path) -> None:
        self.gateway = gateway
        self._database = database
        self._url = url
        self._directory = directory
        self._days = 0

    def day(self, messages: int) -> Day:
        self._days += 1
        return Day(messages, messages // _MESSAGES_A_TASK, seed=self._days, first=self._days * 10_000_000)

    def fill(self, messages: int) -> None:
        day_played.receive_all(self._url, day_played.bodies(self.day(messages)), dead=True)

    def files(self, messages: int) -> str:
        path = self._directory / f"files-{self._days}"
        day_played.write(self.day(messages), path)
        return str(path)

    def measure(self, what: str, *words: str) -> Figures:
        before = cpu_of(self.gateway)
        run = replays.replay(self.gateway, self._url, words, replays.Plan(kills=0))
        cpu = cpu_of(self.gateway) - before
        table = replay_schema.replay
        with closing(Database(self._url)) as database, database.reading() as connection:
            last = connection.execute(sa.select(table).order_by(table.c.id.desc()).limit(1)).one()
        took = (last.ended_at - last.started_at).total_seconds()
        return Figures(self._database, what, last.items, last.items / took, run.seconds - took, cpu, run)

    def done(self) -> int:
        """How many items have an outcome, of all replays."""
        item = replay_schema.replay_item
        with closing(Database(self._url)) as database, database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).where(item.c.outcome.is_not(None))) or 0


def cpu_of(gateway: Gateway) -> float:
    """CPU seconds used until now by the processes that replay, and by PostgreSQL."""
    used = 0.0
    replayers = {process.pid for process in gateway.processes("replayer")}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.pid in replayers or process.name() == "postgres":
                times = process.cpu_times()
                used += times.user + times.system
    return used


def replayed(name: str, messages: int, memory: int) -> Iterator[Figures]:
    """All that is replayed on one kind of database."""
    dead = ("apply", "--state", "dead", "--effects", "send")
    with _bench(name) as bench:
        for number in dict.fromkeys((_FEW, messages, memory)):
            bench.fill(number)
            yield bench.measure(f"apply, {number:,}", *dead)
        yield bench.measure("apply, done before", "apply", "--all", "--effects", "send")
        yield bench.measure("answer", "answer", "--all")
        yield bench.measure("files", "apply", bench.files(messages), "--effects", "send")


def live_beside(name: str, messages: int, seconds: float) -> Iterator[tuple[str, Load]]:
    """Live traffic alone, and beside a replay that has enough to do; what it is beside of, with its rate."""
    with _bench(name) as bench:
        yield "nothing", _live(bench.gateway, seconds)
        bench.fill(messages)
        words = ("apply", "--state", "dead", "--effects", "send")
        with replays.command(bench.gateway, [*words, "--yes"]) as command:
            eventually(lambda: bench.done() > _FEW, 300, 0.2)
            before, started = bench.done(), time.monotonic()
            load = _live(bench.gateway, seconds)
            rate = (bench.done() - before) / (time.monotonic() - started)
            assert command.poll() is None, "the replay was over too soon: give it more messages"
        yield f"a replay of {rate:.0f}/s", load


def _live(gateway: Gateway, seconds: float) -> Load:
    return Clients(gateway.port, template("small", "json"), _CONNECTIONS, seconds).run()


@contextmanager
def _bench(name: str) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as path, live.database(name, Path(path)) as url:
        file = Path(path) / "partners.toml"
        file.write_text(day_played.partners(0, ["poll"] * 5))
        with live.gateway(Path(path) / "var", database_url=url, partners=[str(file)]) as gateway:
            yield Bench(name, url, gateway, Path(path))


def bench(databases: Sequence[str], messages: int, memory: int, seconds: float) -> Iterator[Table]:
    """Runs all rounds; a table of the replays, and one of live traffic beside one."""
    shown = Table("database", "replay", box=None)
    for title in ("items", "items/s", "s before", "CPU ms", "replayer MB", "command MB", "outcomes"):
        shown.add_column(title, justify="right")
    for name in databases:
        for figures in replayed(name, messages, memory):
            shown.add_row(*row(figures))
    yield shown
    live_traffic = Table("database", "live traffic beside", box=None)
    for title in ("messages/s", "p50 ms", "p99 ms"):
        live_traffic.add_column(title, justify="right")
    for name in databases:
        for beside, load in live_beside(name, memory, seconds):
            cuts = statistics.quantiles(load.latencies, n=100)
            measured = (len(load.latencies) / load.seconds, cuts[49] * 1000, cuts[98] * 1000)
            live_traffic.add_row(name, beside, *(f"{figure:.1f}" for figure in measured))
    yield live_traffic


def row(figures: Figures) -> list[str]:
    peaks = (f"{figures.run.peaks.get(kind, 0.0):.0f}" for kind in ("replayer", "command"))
    outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(figures.run.outcomes.items()))
    cpu = figures.cpu / max(figures.items, 1) * 1000
    numbers = (f"{figures.items:,}", f"{figures.rate:,.0f}", f"{figures.before:.1f}", f"{cpu:.2f}")
    return [figures.database, figures.what, *numbers, *peaks, outcomes]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.bench_replay")
    arguments.add_argument("--databases", default=",".join(DATABASES))
    arguments.add_argument("--messages", type=int, default=MESSAGES)
    arguments.add_argument("--memory", type=int, default=MEMORY)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    given = arguments.parse_args()
    for shown in bench(given.databases.split(","), given.messages, given.memory, given.seconds):
        Console(width=160).print(shown)


if __name__ == "__main__":
    main()
