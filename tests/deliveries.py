"""`make deliveries`: messages to partners that are down, slow, flapping, answer 500, 429, 400, garbage, half an answer
while the gateway's processes are killed: each arrives once in effect, in order per Task, or is dead with its reason.

    python -m tests.deliveries [--messages 1000] [--database sqlite|postgresql] [--kills 12] [--seed N]

The gateway is the real one, `fhir-gateway run`. A hospital places orders and a pharmacy carries them out; each is told
what the other sends. Both are one server, which takes each Bundle.id once. Exits with 1 if anything is not so.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.store import circuits, schema
from gateway.store.database import Database
from tests import live, validity
from tests.delivery.receiver import OK, Call, Receiver, Script
from tests.live import FHIR_JSON, Gateway, Kind
from tests.orders import Order, Resource
from tests.services import eventually

HOSPITAL, PHARMACY = "Example General Hospital", "Example Street Pharmacy"
UPDATES = ("accepted", "in-progress", "on-hold", "in-progress", "completed")
"""By the pharmacy, after the hospital's order: so many messages an order are told, each to the other."""
WEATHERS = ("well", "down", "slow", "failing", "busy", "garbled", "cut off", "flapping")
CLIENTS = 8
VICTIMS: tuple[Kind, ...] = ("deliverer", "worker", "broker", "deliverer", "sweep")
REFUSED, POISON = 0, 1
ALTERNATING = ("delivery in trouble", "delivery has recovered")
_REGISTERED = """
[[partner]]
name = "{name}"
identifiers = ["http://registry.example/identifier/organization|{identifier}"]
endpoints = ["{url}/{path}", "urn:demo:{path}"]
delivery = {{ timeout = 2.0 }}
"""


@dataclass(frozen=True)
class Plan:
    """How much is sent and killed; `weather`: seconds that each lasts; `schedule`: the gateway's."""

    messages: int = 1000
    kills: int = 12
    weather: float = 4.0
    rounds: int = 2
    schedule: Sequence[float] = (0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 10.0)
    sweep_interval: float = 1.0
    victims: tuple[Kind, ...] = VICTIMS
    processes: int = 2
    """Of the web server, and workers."""
    seed: int = 1

    @property
    def orders(self) -> int:
        return -(-self.messages // (1 + len(UPDATES)))

    @property
    def seconds(self) -> float:
        """Of weather, in all."""
        return self.weather * len(WEATHERS) * self.rounds

    @property
    def pause(self) -> float:
        """Before each message, so that there are some in every weather."""
        return 0.8 * self.seconds / (-(-self.orders // CLIENTS) * (1 + len(UPDATES)))


SHORT = Plan(
    messages=24,
    kills=2,
    weather=0.2,
    rounds=1,
    schedule=(0.1, 0.2, *[0.3] * 6),
    sweep_interval=0.2,
    victims=("deliverer", "broker"),
    processes=1,
)


@dataclass
class Result:
    """What a run came to."""

    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    repeats: int = 0
    alerts: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Weather(threading.Thread):
    """Changes what a receiver does; in the end it is well, but for what it never takes."""

    def __init__(self, receiver: Receiver, plan: Plan) -> None:
        super().__init__(name="weather", daemon=True)
        self._receiver = receiver
        self._plan = plan
        self._now = "well"
        receiver.answer = self.answer

    def run(self) -> None:
        for weather in WEATHERS * self._plan.rounds:
            self._now = weather
            if weather == "down":
                self._receiver.stop()
                time.sleep(self._plan.weather)
                self._receiver.start()
            elif weather == "flapping":
                for _ in range(4):
                    time.sleep(self._plan.weather / 8)
                    self._receiver.stop()
                    time.sleep(self._plan.weather / 8)
                    self._receiver.start()
            else:
                self._last()
        self._now = "well"

    def _last(self) -> None:
        """Until the time has come and there was a call; but not for ever, for there may be none."""
        calls, began = len(self._receiver.calls), time.monotonic()
        time.sleep(self._plan.weather)
        while len(self._receiver.calls) == calls and time.monotonic() - began < 10 * self._plan.weather:
            time.sleep(0.02)

    def answer(self, call: Call) -> Script:
        lot = lot_of(call.bundle_id)
        if lot == REFUSED:
            return Script(400)
        if lot == POISON:
            return Script(500)
        match self._now:
            case "slow":
                return Script(seconds=self._plan.weather / 2)
            case "failing":
                return Script(500)
            case "busy":
                return Script(429, {"Retry-After": "1"})
            case "garbled":
                return Script(200, garbage=True)
            case "cut off":
                return Script(200, breaks=True)
            case _:
                return OK


class Killer(threading.Thread):
    """Kills one process after the other, each some time after the last."""

    def __init__(self, gateway: Gateway, plan: Plan) -> None:
        super().__init__(name="killer", daemon=True)
        self.killed: Counter[str] = Counter()
        self._gateway = gateway
        self._plan = plan

    def run(self) -> None:
        pause = self._plan.seconds / (self._plan.kills + 1)
        for number in range(self._plan.kills):
            time.sleep(pause)
            kind = self._plan.victims[number % len(self._plan.victims)]
            if self._gateway.kill(kind, 0.3) is not None:
                self.killed[kind] += 1


def lot_of(bundle_id: str) -> int:
    """Of fifty, the first is always refused and the second always fails."""
    return int(bundle_id.replace("-", "")[:8], 16) % 50


def run(database_url: str, plan: Plan, directory: Path) -> Result:
    """One run: messages, weather and kills at the same time; then what is left; then the verdict."""
    random.seed(plan.seed)
    result, receiver = Result(), Receiver()
    receiver.start()
    started = time.monotonic()
    with _gateway(database_url, receiver, plan, directory) as gateway:
        weather, killer = Weather(receiver, plan), Killer(gateway, plan)
        with ThreadPoolExecutor(CLIENTS) as pool:
            sent = [pool.submit(_send_order, gateway.endpoint, plan.pause) for _ in range(plan.orders)]
            weather.start()
            killer.start()
            acknowledged = sum(one.result() for one in sent)
        weather.join()
        killer.join()
        database = Database(database_url)
        eventually(lambda: _is_settled(database), 60 + 10 * sum(plan.schedule), 0.1)
        while _in_trouble(database):  # what always fails was the last; what comes next ends it
            acknowledged += _send_order(gateway.endpoint, 0.0)
            eventually(lambda: _is_settled(database), 60 + 10 * sum(plan.schedule), 0.1)
        rows = _rows(database)
        result.violations += _wrong_end(gateway, receiver, database)
        database.close()
        result.killed = killer.killed
        alerts = _alerts(gateway)
    receiver.stop()
    result.seconds = time.monotonic() - started
    judge(result, receiver, rows, acknowledged, alerts)
    return result


@contextmanager
def _gateway(database_url: str, receiver: Receiver, plan: Plan, directory: Path) -> Iterator[Gateway]:
    partners = directory / "partners.toml"
    directory.mkdir(parents=True, exist_ok=True)
    url = receiver.url.removesuffix("/in")
    names = ((HOSPITAL, "HOSPITAL-1", "hospital"), (PHARMACY, "PHARMACY-7", "pharmacy"))
    partners.write_text(
        "".join(_REGISTERED.format(name=name, identifier=value, url=url, path=path) for name, value, path in names)
    )
    settings: dict[str, Any] = {"partners": [str(partners)], "delivery_schedule": list(plan.schedule)}
    settings |= {"sweep_interval": plan.sweep_interval, "log_format": "json"}
    settings |= {"web_processes": plan.processes, "worker_processes": plan.processes}
    with live.gateway(directory / "var", database_url=database_url, **settings) as gateway:
        yield gateway


def _send_order(endpoint: str, pause: float) -> int:
    """Places an order and carries it out, with pauses; returns how many messages were acknowledged."""
    order = Order()
    messages = [order.new_order(), *(order.update(status) for status in UPDATES)]
    with validity.client(timeout=30) as client:
        return sum(_send(client, endpoint, message, pause) for message in messages)


def _send(client: httpx.Client, endpoint: str, message: Resource, pause: float) -> bool:
    """Again, unchanged, until it is answered for good: as senders are told to."""
    time.sleep(random.uniform(0, 2 * pause))
    body = orjson.dumps(message)
    while True:
        try:
            answer = client.post(endpoint, content=body, headers={"Content-Type": FHIR_JSON})
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == httpx.codes.OK and b"transient-error" not in answer.content:
            assert b'"code":"ok"' in answer.content, answer.text[:2000]
            return True
        time.sleep(0.1)


def _alerts(gateway: Gateway) -> list[dict[str, Any]]:
    lines = gateway.log.read_text(errors="replace").splitlines()
    logged = [orjson.loads(line) for line in lines if any(f'"{event}"' in line for event in ALTERNATING)]
    return [line for line in logged if line["event"] in ALTERNATING]


def _is_settled(database: Database) -> bool:
    """Whether nothing is due to anybody, and nobody is to be told of anything any more."""
    due = sa.select(sa.func.count()).select_from(schema.outbox).where(schema.outbox.c.state == "due")
    waiting = (
        sa.select(sa.func.count()).select_from(schema.message).where(schema.message.c.state.in_(("new", "failed")))
    )
    with database.reading() as connection:
        return not connection.scalar(due) and not connection.scalar(waiting)


def _in_trouble(database: Database) -> bool:
    with database.reading() as connection:
        return bool(circuits.list_open(connection))


def _wrong_end(gateway: Gateway, receiver: Receiver, database: Database) -> Iterator[str]:
    """Stops the gateway while a call hangs: nothing holds it up, and what it had in hand is given back."""
    hangs = threading.Event()

    def hang(_: Call) -> Script:
        hangs.wait(60)
        return Script(503)

    receiver.answer = hang
    calls = len(receiver.calls)
    _send_order(gateway.endpoint, 0.0)
    eventually(lambda: len(receiver.calls) > calls)
    gateway.stop()
    hangs.set()
    if "killed, for it did not stop in time" in gateway.log.read_text(errors="replace"):
        yield f"it did not stop in time: {gateway.last_lines(5)}"
    in_hand = sa.select(sa.func.count()).select_from(schema.outbox).where(schema.outbox.c.claimed_until.is_not(None))
    with database.reading() as connection:
        if kept := connection.scalar(in_hand):
            yield f"{kept} were in hand at the end, and are not given back"


def _rows(database: Database) -> list[sa.Row[Any]]:
    """What was told, in the order in which it was."""
    names = ("id", "recipient", "lane", "bundle_id", "state", "attempts", "error")
    told = sa.select(*(schema.outbox.c[name] for name in names)).where(schema.outbox.c.kind == "message")
    with database.reading() as connection:
        return list(connection.execute(told.order_by(schema.outbox.c.id)))


def judge(
    result: Result, receiver: Receiver, rows: Sequence[sa.Row[Any]], acknowledged: int, alerts: Sequence[dict[str, Any]]
) -> None:
    """Fills in what the run came to, and what is not as it must be."""
    taken = {bundle_id: place for place, bundle_id in enumerate(receiver.effects)}
    result.states = Counter(row.state for row in rows)
    result.calls, result.repeats = len(receiver.calls), sum(receiver.times.values()) - len(taken)
    result.violations += list(_wrong_rows(rows, taken))
    result.violations += list(_out_of_order(rows, taken))
    result.violations += list(_wrong_alerts(alerts))
    result.alerts = len(alerts)
    result.reasons = Counter(_reason(row.error or "") for row in rows if row.state == "dead")
    if len(rows) != acknowledged:
        result.violations.append(f"{acknowledged} messages were acknowledged, and {len(rows)} told")
    if strange := taken.keys() - {row.bundle_id for row in rows}:
        result.violations.append(f"nobody sent {strange}")


def _wrong_rows(rows: Sequence[sa.Row[Any]], taken: dict[str, int]) -> Iterator[str]:
    for row in rows:
        lot = lot_of(row.bundle_id)
        if row.state not in ("delivered", "dead"):
            yield f"{row.id} is {row.state}"
        if row.state == "delivered" and row.bundle_id not in taken:
            yield f"{row.id} is delivered, but did not arrive"
        if row.state == "dead" and not row.error:
            yield f"{row.id} is dead without a reason"
        if lot == REFUSED and (row.state, row.bundle_id in taken) != ("dead", False):
            yield f"{row.id} was refused, and is {row.state}"
        if row.state == "dead" and lot not in (REFUSED, POISON) and "chedule" not in row.error:
            yield f"{row.id} is dead for no good reason: {row.error}"


def _out_of_order(rows: Sequence[sa.Row[Any]], taken: dict[str, int]) -> Iterator[str]:
    lanes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        if row.bundle_id in taken:
            lanes[row.recipient, row.lane].append(taken[row.bundle_id])
    yield from (f"out of order in {lane}: {places}" for lane, places in lanes.items() if places != sorted(places))


def _wrong_alerts(alerts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Trouble begins, and ends, and begins: never twice the same."""
    for name in (HOSPITAL, PHARMACY):
        events = [said["event"] for said in alerts if said["recipient"] == name]
        if events != [ALTERNATING[number % 2] for number in range(len(events))] or len(events) % 2:
            yield f"{name}: the operator was told {events}"


def _reason(error: str) -> str:
    return "the end of the schedule" if "chedule" in error else error.rpartition(" answered ")[2]


def table(result: Result) -> Table:
    shown = Table("told", "", box=None)
    for state, number in result.states.most_common():
        shown.add_row(state, str(number))
    for reason, number in result.reasons.most_common():
        shown.add_row(f"dead by {reason}", str(number))
    shown.add_row("calls that the receiver saw", str(result.calls))
    shown.add_row("arrived once more, without effect", str(result.repeats))
    shown.add_row("alerts", str(result.alerts))
    shown.add_row("killed", ", ".join(f"{kind} {number}" for kind, number in result.killed.items()))
    shown.add_row("seconds", f"{result.seconds:.0f}")
    return shown


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.deliveries", description=(__doc__ or "").split("\n\n")[0])
    arguments.add_argument("--messages", type=int, default=Plan.messages)
    arguments.add_argument("--kills", type=int, default=Plan.kills)
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = arguments.parse_args()
    plan = Plan(messages=given.messages, kills=given.kills, seed=given.seed)
    with (
        tempfile.TemporaryDirectory(prefix="gateway-deliveries-") as path,
        live.database(given.database, Path(path)) as url,
    ):
        result = run(url, plan, Path(path))
    console = Console()
    console.print(table(result))
    for violation in result.violations[:50]:
        console.print(violation, style="red", markup=False, highlight=False)
    console.print("Something is not as it must be." if result.violations else "All as it must be.")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
