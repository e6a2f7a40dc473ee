"""`make bench`: what the real gateway does in a second, and how long each message takes; beside the floor.

    python -m tests.bench [--databases sqlite,postgresql] [--formats json,xml] [--sizes small,medium]
                          [--connections 1,16] [--seconds 5] [--deliveries 2000] [--replay 20000]

Every message is a new order (a new Task), posted synchronously to `fhir-gateway run`; the clients share the machine
with it. The floor, measured in the same run, is what no gateway can do without: parsing the same bytes and one durable
commit of them, one message at a time. What is delivered in a second, and what is replayed, comes last:
`tests.bench_deliveries`, `tests.bench_replay`.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.fhir import formats
from gateway.store.database import Database
from tests import bench_deliveries, bench_replay, live
from tests.bench_load import FORMATS, SIZES, Clients, Load, template
from tests.live import Gateway, Kind

DATABASES = ("sqlite", "postgresql")
FLOOR_SECONDS = 1.0
# The processes that a message's CPU time is spent in.
PARTS = ("web", "worker", "broker", "postgres", "client")


@dataclass(frozen=True)
class Figures:
    """One row of the table: messages a second, seconds a message, CPU seconds a message by process."""

    what: tuple[str, str, str, str]
    rate: float
    p50: float
    p99: float
    cpu: dict[str, float]


def measure(gateway: Gateway, what: tuple[str, str, str], connections: int, seconds: float) -> Figures:
    clients = Clients(gateway.port, template(what[2], what[1]), connections, seconds)
    before = _cpu(gateway)
    load = clients.run()
    after = _cpu(gateway) | {"client": load.cpu}
    cpu = {part: (after[part] - before[part]) / len(load.latencies) for part in PARTS}
    return _figures((*what, f"{connections} conn."), load, cpu)


def floor(database_url: str, what: tuple[str, str, str]) -> Figures:
    """Parses and durably commits the same kind of message, one after the other."""
    made = template(what[2], what[1])
    database = Database(database_url)
    kept = sa.Table("bench_floor", sa.MetaData(), sa.Column("body", sa.LargeBinary))
    with database.transaction() as connection:
        kept.create(connection, checkfirst=True)
    latencies: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()
    while time.perf_counter() - started < FLOOR_SECONDS:
        body, began = made.fresh(), time.perf_counter()
        formats.parse(body, what[1])
        with database.transaction() as connection:
            connection.execute(sa.insert(kept), {"body": body})
        latencies.append(time.perf_counter() - began)
    load = Load(latencies, time.perf_counter() - started, time.process_time() - cpu)
    database.close()
    return _figures((*what, "floor"), load, {"client": load.cpu / len(latencies)})


def _figures(what: tuple[str, str, str, str], load: Load, cpu: dict[str, float]) -> Figures:
    percentiles = statistics.quantiles(load.latencies, n=100)
    return Figures(what, len(load.latencies) / load.seconds, statistics.median(load.latencies), percentiles[98], cpu)


def _cpu(gateway: Gateway) -> dict[str, float]:
    """CPU seconds used until now, by part: those of the processes that live, and of their children that ended."""
    used: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    parts: dict[str, tuple[Kind, ...]] = {
        "web": ("web", "web-worker"),
        "worker": ("worker", "sweep", "supervisor"),
        "broker": ("broker",),
    }
    for part, kinds in parts.items():
        for kind in kinds:
            used[part] += sum(map(_cpu_of, gateway.processes(kind)))
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.name() == "postgres":
                used["postgres"] += _cpu_of(process)
    return used


def _cpu_of(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def bench(given: argparse.Namespace, database: str) -> Iterator[Figures]:
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as path,
        live.database(database, Path(path)) as url,
        live.gateway(Path(path) / "var", database_url=url) as gateway,
    ):
        for what in itertools.product((database,), given.formats, given.sizes):
            yield from (measure(gateway, what, number, given.seconds) for number in given.connections)
            yield floor(url, what)


def table() -> Table:
    shown = Table("database", "format", "size", "", box=None)
    for title in ("messages/s", "p50 ms", "p99 ms", *(f"{part} ms" for part in (*PARTS, "CPU"))):
        shown.add_column(title, justify="right")
    return shown


def row(figures: Figures) -> list[str]:
    cpu = [figures.cpu.get(part, 0.0) for part in PARTS]
    times = [figures.p50, figures.p99, *cpu, sum(cpu)]
    return [*figures.what, f"{figures.rate:.0f}", *(f"{seconds * 1000:.2f}" for seconds in times)]


def _list(of: type, allowed: tuple[str, ...] | None = None) -> Callable[[str], list]:  # type: ignore[type-arg]
    def read(text: str) -> list:  # type: ignore[type-arg]
        if allowed is not None and not set(text.split(",")) <= set(allowed):
            raise argparse.ArgumentTypeError(f"takes some of {','.join(allowed)}")
        return [of(word) for word in text.split(",")]

    return read


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--databases", type=_list(str, DATABASES), default=list(DATABASES))
    arguments.add_argument("--formats", type=_list(str, tuple(FORMATS)), default=list(FORMATS))
    arguments.add_argument("--sizes", type=_list(str, tuple(SIZES)), default=list(SIZES))
    arguments.add_argument("--connections", type=_list(int), default=[1, 16])
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--deliveries", type=int, default=2000)
    arguments.add_argument("--replay", type=int, default=bench_replay.MESSAGES)
    given = arguments.parse_args()
    console = Console(width=140)
    shown = table()
    for figures in itertools.chain.from_iterable(bench(given, database) for database in given.databases):
        shown.add_row(*row(figures), end_section=figures.what[3] == "floor")
        console.print("  ".join(row(figures)), style="dim", highlight=False)
    console.print(shown)
    if given.deliveries:
        console.print(bench_deliveries.bench(given.databases, given.deliveries))
    if given.replay:
        for replayed in bench_replay.bench(given.databases, given.replay, bench_replay.MEMORY, given.seconds):
            console.print(replayed)


if __name__ == "__main__":
    main()
