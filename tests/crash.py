"""`make crash`: while messages flow, kill -9 the gateway's processes at random; then every acknowledged message has
exactly one effect and one reply, or this says what differs and exits with 1.

    python -m tests.crash [--kills 200] [--messages 3000] [--database both] [--short]

The gateway is the real one, `fhir-gateway run`, whose supervisor starts again what was killed. Clients do what the
rules tell them: no answer, a 5xx and a transient-error mean "send it again, unchanged, later".
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.store import inbox
from gateway.store.database import Database
from tests import live, services
from tests.crash_clients import Client, Ledger
from tests.crash_verdict import Kept, judge
from tests.live import Gateway, Kind

VICTIMS: dict[Kind, int] = {"worker": 35, "web": 15, "web-worker": 20, "broker": 22, "sweep": 5, "supervisor": 3}
SETTLED_WITHIN = 240.0
AT_WORK_WITHIN = 0.3


@dataclass(frozen=True)
class Plan:
    """How much is sent and killed; `pauses` between two kills in seconds, at least and at most."""

    kills: int = 200
    messages: int = 3000
    clients: int = 16
    pauses: tuple[float, float] = (0.2, 1.8)
    seed: int = field(default_factory=lambda: random.randrange(10**6))


SHORT = Plan(kills=12, messages=150, clients=4, pauses=(0.1, 0.7))


@dataclass
class Result:
    """What a run came to."""

    database: str
    ledger: Ledger
    killed: Counter[str]
    seconds: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    failures: int = 0


class Killer(threading.Thread):
    """Kills one process after the other."""

    def __init__(self, gateway: Gateway, plan: Plan) -> None:
        super().__init__(name="killer", daemon=True)
        self.killed: Counter[str] = Counter()
        self._gateway = gateway
        self._plan = plan
        self._random = random.Random(plan.seed)

    def run(self) -> None:
        while self.killed.total() < self._plan.kills:
            time.sleep(self._random.uniform(*self._plan.pauses))
            [kind] = self._random.choices(list(VICTIMS), list(VICTIMS.values()))
            if kind == "supervisor":
                self._gateway.kill_program("run")
                self._start_again()
            elif self._gateway.kill(kind, AT_WORK_WITHIN) is None:
                continue
            self.killed[kind] += 1

    def _start_again(self) -> None:
        """As systemd would; the first tries find that the killed one's children are still about to end."""
        while not self._gateway.start_if_possible("run"):
            time.sleep(0.2)


def crash(database_url: str, name: str, plan: Plan, directory: Path) -> Result:
    """One run: flow and kills, settling, everything once more, verdict."""
    ledger, stop = Ledger(), threading.Event()
    result = Result(name, ledger, Counter())
    with live.gateway(directory, database_url=database_url) as gateway:
        killer = Killer(gateway, plan)
        with _timed(result, "flow"), ExitStack() as stack:
            clients = [Client(gateway.endpoint, ledger, stop, plan.seed * 100 + n) for n in range(plan.clients)]
            for client in clients:
                stack.callback(client.close)
            pool = stack.enter_context(ThreadPoolExecutor(plan.clients))
            stack.callback(stop.set)
            runs = [pool.submit(client.run) for client in clients]
            killer.start()
            while (len(ledger.sent) < plan.messages or killer.is_alive()) and not any(run.done() for run in runs):
                time.sleep(0.1)
        for run in runs:
            run.result()
        killer.join()
        result.killed = killer.killed
        with _timed(result, "settle"):
            gateway.wait_until_ready()
            _wait_until_settled(database_url)
        with _timed(result, "again"):
            _send_all_again(gateway, ledger, plan)
        kept = Kept(database_url)
    result.failures = sum(row.attempts for row in kept.inbox)
    result.violations = judge(ledger, kept)
    return result


def _wait_until_settled(database_url: str) -> None:
    database = Database(database_url)

    def is_settled() -> bool:
        with database.reading() as connection:
            return inbox.count_waiting(connection).waiting == 0

    services.eventually(is_settled, SETTLED_WITHIN, 0.1)
    database.close()


def _send_all_again(gateway: Gateway, ledger: Ledger, plan: Plan) -> None:
    client = Client(gateway.endpoint, ledger, threading.Event(), plan.seed)
    with closing(client), ThreadPoolExecutor(plan.clients) as pool:
        list(pool.map(client.send_again, list(ledger.sent)))


@contextmanager
def _timed(result: Result, what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    result.seconds[what] = time.monotonic() - started


def table(results: list[Result]) -> Table:
    """The counts, a column for each database."""
    shown = Table("", *(result.database for result in results))
    for what in ("ok", "fatal-error", "202", "transient-error", "503", "504", "no answer", "repeats", "posts"):
        shown.add_row(what, *(f"{result.ledger.counts[what]:,}" for result in results))
    shown.add_section()
    shown.add_row("messages", *(f"{len(result.ledger.sent):,}" for result in results))
    shown.add_row("orders", *(f"{len(result.ledger.orders):,}" for result in results))
    shown.add_row("attempts that failed", *(f"{result.failures:,}" for result in results))
    shown.add_section()
    for kind in VICTIMS:
        shown.add_row(f"{kind} killed", *(f"{result.killed[kind]:,}" for result in results))
    shown.add_row("killed in all", *(f"{result.killed.total():,}" for result in results))
    shown.add_section()
    for phase in ("flow", "settle", "again"):
        shown.add_row(f"{phase}, s", *(f"{result.seconds[phase]:.0f}" for result in results))
    shown.add_row("violations", *(f"{len(result.violations):,}" for result in results))
    return shown


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.crash", description=(__doc__ or "").partition("\n\n")[0])
    arguments.add_argument("--kills", type=int, default=Plan.kills)
    arguments.add_argument("--messages", type=int, default=Plan.messages)
    arguments.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument("--short", action="store_true", help="12 kills and 150 messages")
    given = arguments.parse_args()
    plan = replace(SHORT if given.short else Plan(given.kills, given.messages), seed=given.seed)
    results = []
    for name in ("sqlite", "postgresql") if given.database == "both" else (given.database,):
        with tempfile.TemporaryDirectory(prefix="gateway-crash-") as path, live.database(name, Path(path)) as url:
            results.append(crash(url, name, plan, Path(path) / "var"))
    console = Console()
    console.print(table(results), f"seed {plan.seed}")
    violations = [f"{result.database}: {violation}" for result in results for violation in result.violations]
    for violation in violations[:50]:
        console.print(violation, style="red", markup=False, highlight=False)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
