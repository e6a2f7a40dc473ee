"""`make replays`: a day of traffic, live once, replayed whole, and replayed by files into an empty gateway, under fire.

    python -m tests.replays [--messages 100000] [--tasks 20000] [--database both] [--kills 40] [--straight]

The day is played into the real gateway, `fhir-gateway run`. Then its whole inbox is replayed in `apply`: nothing may
change, and the report must have a line for each message. Then the same day comes as files, in mixed forms and in no
order, into an empty gateway: every Task must end in the same state, every message with the same outcome. During both
replays processes are killed (-9) at random: those that replay, workers, the web server, the sweep, the deliverer, the
broker, and the command itself, which is given again. Says what differs, how fast it was and how much memory it took,
and exits with 1 when anything differs.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.store import inbox, replay_schema, schema
from gateway.store.database import Database
from tests import bench_deliveries, day_messages, day_played, live, services
from tests.day import Day
from tests.live import Gateway, Kind
from tests.replays_verdict import Kept, against_day, against_each_other, header_of

VICTIMS: dict[Kind | Literal["command"], int] = {
    "replayer": 40,
    "command": 4,
    "broker": 18,
    "worker": 10,
    "web-worker": 10,
    "sweep": 8,
    "deliverer": 8,
    "web": 6,
}
SETTLED_WITHIN = 1800.0
_LOOK_SECONDS = 0.2
_OUTCOMES = {"fatal-error": "refused"}

Line = dict[str, Any]
"""A line of a replay's report, as its JSON has it: `gateway.replay.model.Line`."""


@dataclass(frozen=True)
class Plan:
    """How much there is of it; `kills` during each replay, with `pauses` between two of them, in seconds.

    `straight`: the day goes into the inbox without a web server.
    """

    messages: int = 100_000
    tasks: int = 20_000
    kills: int = 40
    pauses: tuple[float, float] = (0.1, 1.0)
    seed: int = 1
    straight: bool = False


@dataclass
class Run:
    """What a replay came to: its report, how long it took, how much memory each kind of process had at most (MB)."""

    report: list[Line]
    seconds: float
    peaks: dict[str, float]
    killed: Counter[str]

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(str(line["outcome"]) for line in self.report)


@dataclass
class Result:
    """What a proof came to."""

    database: str
    seconds: dict[str, float] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def prove(database_url: str, empty_url: str, name: str, plan: Plan, directory: Path) -> Result:
    """The whole proof on one kind of database: `database_url` takes the day live, `empty_url` by files."""
    result, day = Result(name), Day(plan.messages, plan.tasks, plan.seed)
    with bench_deliveries.receiver() as port:
        file = directory / "partners.toml"
        file.write_text(day_played.partners(port))
        with live.gateway(directory / "live", database_url=database_url, partners=[str(file)]) as gateway:
            with _timed(result, "live"):
                _play(gateway, database_url, day, plan)
                _wait_until_settled(gateway, database_url)
            kept = Kept(database_url)
            result.counts = {"tasks": kept.tasks} | vars(kept.counts)
            result.violations += _marked("live", against_day(kept, day))
            _replay_inbox(gateway, database_url, result, plan, kept)
        files = directory / "files"
        result.counts["files"] = day_played.write(day, files)
        with live.gateway(directory / "empty", database_url=empty_url, partners=[str(file)]) as gateway:
            _replay_files(gateway, empty_url, result, plan, files)
            replayed = Kept(empty_url)
    wrong = [
        *against_day(replayed, day),
        *against_each_other(kept, replayed),
        *_report_of_files(result.runs["files"].report, replayed, day),
    ]
    result.violations += _marked("files", wrong)
    return result


def _play(gateway: Gateway, database_url: str, day: Day, plan: Plan) -> None:
    if plan.straight:
        day_played.receive_all(database_url, day_played.bodies(day))
        return
    statuses = day_played.play(gateway.port, day)
    assert not statuses.keys() - {200, 202}, f"the gateway has answered {dict(statuses)}"


def _replay_inbox(gateway: Gateway, database_url: str, result: Result, plan: Plan, live_one: Kept) -> None:
    run = replay(gateway, database_url, ["apply", "--all", "--effects", "send"], plan)
    result.runs["inbox"] = run
    _wait_until_settled(gateway, database_url)
    after = Kept(database_url)
    wrong = after.twice[:]
    if after.counts != live_one.counts:
        wrong.append(f"there were {live_one.counts}, and are {after.counts}")
    wrong += against_each_other(live_one, after)
    if run.outcomes != Counter(skipped=live_one.counts.messages):
        wrong.append(f"of {live_one.counts.messages} messages, all done before, the report says {dict(run.outcomes)}")
    seen = Counter(line["message_id"] for line in run.report)
    wrong += [f"message {one} is in the report {times} times" for one, times in seen.items() if times > 1][:10]
    result.violations += _marked("inbox", wrong)


def _replay_files(gateway: Gateway, database_url: str, result: Result, plan: Plan, files: Path) -> None:
    result.runs["files"] = replay(gateway, database_url, ["apply", str(files), "--effects", "send"], plan)
    _wait_until_settled(gateway, database_url)


def _report_of_files(report: Sequence[Line], replayed: Kept, day: Day) -> Iterator[str]:
    """Each message has a line; of those that say the same, one of what became of it, and the others are skipped."""
    said_as = {day_messages.bundle_id(said): day_messages.header_id(said) for said in day.said}
    wanted: dict[str, Counter[str]] = {name: Counter() for name in said_as.values()}
    for name, code in replayed.outcomes.items():
        wanted[header_of(name)][_OUTCOMES.get(code, code)] += 1
    for name, times in Counter(day_messages.header_id(said) for said in day.said).items():
        wanted[name]["skipped"] = times - wanted[name].total()
    found: dict[str, Counter[str]] = {name: Counter() for name in wanted}
    for line in report:
        found.setdefault(said_as.get(line["bundle_id"], "nobody's"), Counter())[line["outcome"]] += 1
    wrong = [name for name, counts in found.items() if counts != wanted.get(name)]
    if wrong or len(report) != len(day.said):
        yield f"{len(day.said)} messages came in files, and the report has {len(report)} lines; {len(wrong)} are wrong"
    for name in wrong[:10]:
        yield f"of the message {name} the report should say {wanted.get(name)}, and says {found[name]}"


# --- replaying --------------------------------------------------------------------------------------------------------


def replay(gateway: Gateway, database_url: str, words: Sequence[str], plan: Plan) -> Run:
    """Runs `fhir-gateway replay` as an operator does, under fire, to its end.

    When the command itself is killed, it is given again: the same replay goes on. Raises AssertionError when it fails.
    """
    file, fire = gateway.var / "report.json", _Fire(gateway, database_url, plan)
    started = time.monotonic()
    while True:
        with command(gateway, [*words, "--yes", "--report", str(file)]) as process:
            fire.on(process)
        if process.returncode != -signal.SIGKILL:
            break
    seconds = time.monotonic() - started
    assert process.returncode == 0, f"the replay ended with {process.returncode}:\n{gateway.last_lines(20)}"
    gateway.wait_until_ready()
    report = orjson.loads(file.read_bytes())
    assert report["replay"]["state"] == "done", report["replay"]
    return Run(report["lines"], seconds, fire.peaks, fire.killed)


_PART, _REPLAY = replay_schema.replay_part.c, replay_schema.replay.c
_HALF_DONE = (
    sa.select(sa.or_(_REPLAY.state == "done", 2 * sa.func.sum(_PART.remaining) < _REPLAY["items"]))
    .join_from(replay_schema.replay_part, replay_schema.replay, _PART.replay_id == _REPLAY.id)
    .group_by(_REPLAY.id)
    .order_by(_REPLAY.id.desc())
    .limit(1)
)


@contextmanager
def command(gateway: Gateway, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """`fhir-gateway replay` while the block lasts."""
    with gateway.log.open("ab") as log:
        process = gateway.command("replay", *words, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class _Fire:
    """What is done to a replay while its command runs: it is looked at, and processes are killed, one after the other.

    `peaks` are the most that a process of each kind has had of memory, in MB.
    """

    def __init__(self, gateway: Gateway, database_url: str, plan: Plan) -> None:
        self.peaks: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self._gateway = gateway
        self._url = database_url
        self._plan = plan
        self._random = random.Random(plan.seed)

    def on(self, process: subprocess.Popen[bytes]) -> None:
        """Until the command ends."""
        next_at = time.monotonic() + self._pause()
        while process.poll() is None:
            self._look(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
            if self.killed.total() < self._plan.kills and time.monotonic() >= next_at:
                self._kill(process)
                next_at = time.monotonic() + self._pause()

    def _pause(self) -> float:
        return self._random.uniform(*self._plan.pauses)

    def _look(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(psutil.Error):
            self._note("command", psutil.Process(process.pid))
        for replayer in self._gateway.processes("replayer"):
            with suppress(psutil.Error):
                self._note("replayer", replayer)

    def _note(self, kind: str, process: psutil.Process) -> None:
        self.peaks[kind] = max(self.peaks.get(kind, 0.0), process.memory_info().rss / 1e6)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        [kind] = self._random.choices(list(VICTIMS), list(VICTIMS.values()))
        if kind == "command":
            if not self._is_half_done():
                process.kill()
                self.killed[kind] += 1
        elif self._gateway.kill(kind, 0.1) is not None:
            self.killed[kind] += 1

    def _is_half_done(self) -> bool:
        """Of the last replay: one that ends, and is given again then, is another one."""
        with closing(Database(self._url)) as database, database.reading() as connection:
            row = connection.execute(_HALF_DONE).first()
        return row is not None and bool(row[0])


def _wait_until_settled(gateway: Gateway, database_url: str) -> None:
    """Until every message is carried out, and everything that is told has arrived."""
    is_due = sa.select(sa.func.count()).select_from(schema.outbox).where(schema.outbox.c.state == "due")
    with closing(Database(database_url)) as database:

        def is_settled() -> bool:
            with database.reading() as connection:
                return inbox.count_waiting(connection).waiting == 0 and not connection.scalar(is_due)

        services.eventually(is_settled, SETTLED_WITHIN, 0.5)


@contextmanager
def _timed(result: Result, what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    result.seconds[what] = time.monotonic() - started


def _marked(phase: str, violations: Sequence[str]) -> list[str]:
    return [f"{phase}: {violation}" for violation in violations]


# --- said -------------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> Table:
    """What each proof came to, a column for each database."""
    shown = Table("", *(result.database for result in results))
    for what in ("messages", "tasks", "versions", "outbox", "files"):
        shown.add_row(what, *(f"{result.counts[what]:,}" for result in results))
    shown.add_row("live, s", *(f"{result.seconds['live']:.0f}" for result in results))
    for name in ("inbox", "files"):
        runs = [result.runs[name] for result in results]
        shown.add_section()
        shown.add_row(f"replay of the {name}, s", *(f"{run.seconds:.0f}" for run in runs))
        shown.add_row("lines a second", *(f"{len(run.report) / run.seconds:,.0f}" for run in runs))
        for outcome in sorted({outcome for run in runs for outcome in run.outcomes}):
            shown.add_row(outcome, *(f"{run.outcomes[outcome]:,}" for run in runs))
        for kind in ("command", "replayer"):
            shown.add_row(f"{kind}, MB at most", *(f"{run.peaks.get(kind, 0):.0f}" for run in runs))
        for kind in VICTIMS:
            shown.add_row(f"{kind} killed", *(f"{run.killed[kind]:,}" for run in runs))
    shown.add_section()
    shown.add_row("violations", *(f"{len(result.violations):,}" for result in results))
    return shown


def main() -> int:
    arguments = argparse.ArgumentParser(
        prog="python -m tests.replays", description=(__doc__ or "").partition("\n\n")[0]
    )
    arguments.add_argument("--messages", type=int, default=Plan.messages)
    arguments.add_argument("--tasks", type=int, default=Plan.tasks)
    arguments.add_argument("--kills", type=int, default=Plan.kills, help="during each of the two replays")
    arguments.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument("--straight", action="store_true", help="the day goes into the inbox without HTTP")
    given = arguments.parse_args()
    plan = Plan(given.messages, given.tasks, given.kills, seed=given.seed, straight=given.straight)
    results = []
    for name in ("sqlite", "postgresql") if given.database == "both" else (given.database,):
        with tempfile.TemporaryDirectory(prefix="gateway-replays-") as path, ExitStack() as stack:
            urls = [stack.enter_context(live.database(name, Path(path))) for _ in range(2)]
            results.append(prove(urls[0], urls[1], name, plan, Path(path)))
    console = Console()
    console.print(table(results), f"seed {plan.seed}")
    violations = [f"{result.database}: {violation}" for result in results for violation in result.violations]
    for violation in violations:
        console.print(violation, style="red", markup=False, highlight=False)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
