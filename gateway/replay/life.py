"""The life of a replay: it is forecast, started, perhaps approved, paused, resumed, stopped, done. docs/replay.md"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.errors import Conflict, DatabaseUnavailable
from gateway.fhir.message import Ourselves
from gateway.jobs import Dispatcher
from gateway.partners import Partners
from gateway.replay import document, planning
from gateway.replay.files.sources import Found
from gateway.replay.model import ENDED, Forecast, Mode, Options, Progress, Replay, Source
from gateway.replay.staging import Staging
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import replay_items, replays
from gateway.store.database import Connection, Database
from gateway.store.selections import Selection
from gateway.terms import Standing

_NEVER_STARTED = ("staging", "planned", "approval")
_STALE = timedelta(days=7)
_REPEATABLE = ("apply", "dry-run")
"""What does nothing twice, however often it is done."""
_DROPPED = "Dropped with the replay that held it."
Told = Callable[[str, int], object]


class ReplayError(Exception):
    """It cannot be done; the text says why, and what to do."""


class UnknownReplayError(ReplayError):
    """There is no such replay."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and by whom. `files` are what is read in place of the inbox."""

    mode: Mode
    source: Source
    selection: Selection
    options: Options
    by: str


class Replays:
    """The replays of a deployment."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        standing: Standing,
        in_force: Settings,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """Without a `dispatcher` the sweep finds what is to be done."""
        self._database = database
        self._registry = registry
        self._standing = standing
        self._settings = in_force
        self._dispatcher = dispatcher

    # --- asked for ----------------------------------------------------------------------------------------------------

    def plan(self, asked: Asked, found: Iterable[Found] = (), tell: Told = lambda _what, _number: None) -> Replay:
        """Keeps a replay with its items and its forecast; it is not started.

        The same replay, under way already, is found as it is. Raises ReplayError for one that has ended, unless it is
        to be done `again` (what is carried out again, or sent, is done twice only when that is meant), and for what
        cannot be.
        """
        self._check(asked)
        same = self._find_same(self._fingerprint(asked), asked.mode)
        if same is not None:
            return same
        self._discard_stale()
        replay = self._add(asked)
        try:
            if asked.source == "files":
                staged = self._stage(replay, found, tell)
                return self._plan_files(replay, staged, tell)
            return self._database.attempt(lambda connection: self._choose(connection, replay))
        except BaseException:  # Ctrl-C too: what was laid by is not kept for nothing
            with suppress(DatabaseUnavailable, Conflict):
                self._database.attempt(lambda connection: replays.discard(connection, replay.id))
            raise

    def _check(self, asked: Asked) -> None:
        if (asked.mode == "send") != (asked.source == "outbox"):
            raise ReplayError("`send` is for the outbox, and the outbox for `send`; the other modes are for messages.")
        if asked.mode == "answer" and asked.source == "files":
            raise ReplayError("What comes in files has no stored reply. Name the messages of the inbox by their ids.")
        if asked.mode == "reprocess" and asked.source == "files":
            raise ReplayError("What comes in files is carried out by `apply`; `reprocess` is for what is in the inbox.")
        to = asked.options.to
        partners = self._standing.current().partners
        if to is not None and (asked.mode not in ("answer", "send") or partners.called(to) is None):
            raise ReplayError(
                f"{to} is not a registered partner that can be sent to: see `fhir-gateway partners list`."
                if asked.mode in ("answer", "send")
                else "Only stored answers, and what the outbox has, can be sent to another partner: `answer`, `send`."
            )

    def _find_same(self, fingerprint: bytes, mode: Mode) -> Replay | None:
        """The same replay, where it is under way. Raises ReplayError when it has ended, and must not be done twice."""
        with self._database.reading() as connection:
            row = replays.find_same(connection, fingerprint)
        same = document.read(row) if row else None
        if same is None or (same.state in ENDED and mode in _REPEATABLE):
            return None
        if same.state not in ENDED:
            return same
        raise ReplayError(
            f"Replay {same.id} was the same, by {same.started_by}, in {same.created_at:%Y-%m-%d %H:%M} UTC. It is "
            f"{same.state}. To do it once more, say so: --again (API: again)."
        )

    def _fingerprint(self, asked: Asked) -> bytes:
        return document.fingerprint(asked.mode, asked.source, asked.selection, asked.options)

    def _add(self, asked: Asked) -> Replay:
        values = {
            "mode": asked.mode,
            "source": asked.source,
            "selection": document.write(asked.selection),
            "options": document.write(asked.options),
            "fingerprint": self._fingerprint(asked),
            "state": "staging",
            "created_at": datetime.now(UTC),
            "created_by": asked.by,
        }
        return self.get(self._database.attempt(lambda connection: replays.add(connection, values)))

    def _discard_stale(self) -> None:
        """Forgets what was planned long ago, and never started."""

        def work(connection: Connection) -> None:
            for replay_id in replays.find_stale(connection, datetime.now(UTC) - _STALE):
                replays.discard(connection, replay_id)

        self._database.attempt(work)

    def _choose(self, connection: Connection, replay: Replay) -> Replay:
        items, told = planning.choose(connection, replay, self._partners)
        return self._planned(connection, replay, items, told)

    def _stage(self, replay: Replay, found: Iterable[Found], tell: Told) -> int:
        in_force = self._settings
        ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)
        staging = Staging(self._database, self._registry, ourselves, self._partners, is_sandbox=in_force.is_sandbox)
        staged = 0
        try:
            for staged in staging.stage(replay.id, found):
                tell("read", staged)
        except Conflict:
            raise ReplayError(f"Replay {replay.id} was discarded by somebody else.") from None
        return staged

    def _plan_files(self, replay: Replay, staged: int, tell: Told) -> Replay:
        files = planning.Files(self._database, replay, staged)
        for number in files.choose():
            tell("put in order", number)
        told = planning.forecast(replay, files.counted(), self._partners)
        return self._database.attempt(lambda connection: self._planned(connection, replay, told.messages, told))

    def _planned(self, connection: Connection, replay: Replay, items: int, told: Forecast) -> Replay:
        now = datetime.now(UTC)
        replays.add_parts(connection, replay.id, now)
        written = document.write_forecast(told)
        if not replays.change(connection, replay.id, ("staging",), state="planned", items=items, forecast=written):
            raise ReplayError(f"Replay {replay.id} was discarded by somebody else.")
        return replace(replay, state="planned", items=items, forecast=told)

    @property
    def _partners(self) -> Partners:
        return self._standing.current().partners

    # --- looked at ----------------------------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        return self._database

    def get(self, replay_id: int) -> Replay:
        """Raises UnknownReplayError."""
        with self._database.reading() as connection:
            row = replays.find(connection, replay_id)
        if row is None:
            raise UnknownReplayError(f"There is no replay {replay_id}: see `fhir-gateway replay list`.")
        return document.read(row)

    def all(self, limit: int, before: int | None = None) -> list[Replay]:
        """The last ones, the last first."""
        with self._database.reading() as connection:
            return [document.read(row) for row in replays.find_all(connection, limit, before)]

    def progress(self, replay_id: int) -> Progress:
        """Raises UnknownReplayError."""
        replay = self.get(replay_id)
        with self._database.reading() as connection:
            counts, remaining = replays.count(connection, replay_id)
            held = replays.count_held(connection, replay_id)
        return Progress(replay, counts, remaining, held)

    # --- done ---------------------------------------------------------------------------------------------------------

    def start(self, replay_id: int, by: str, confirmed: int | None = None) -> Replay:
        """Starts a replay, or has it wait for its approval; one that is under way already stays so.

        `confirmed` is how many messages it is sure about: what carries out again is started only with the number that
        its forecast has. Raises ReplayError.
        """
        replay = self.get(replay_id)
        if replay.state in ("running", "paused", "approval"):
            return replay
        if replay.state != "planned":
            raise ReplayError(f"Replay {replay_id} is {replay.state}: it cannot be started.")
        if replay.mode == "reprocess" and confirmed != replay.items:
            raise ReplayError(
                f"Replay {replay_id} carries out {replay.items} messages again. Confirm that by their number: "
                f"--confirm {replay.items} (API: confirm)."
            )
        fingerprint = document.fingerprint(replay.mode, replay.source, replay.selection, replay.options)
        if (same := self._find_same(fingerprint, replay.mode)) is not None:
            raise ReplayError(f"Replay {same.id} is the same, and {same.state} already.")
        once = replay.mode not in _REPEATABLE
        if self._needs_approval(replay):
            self._change(replay, ("planned",), once=once, state="approval", started_by=by, why=f"asked for by {by}")
            return self.get(replay_id)
        return self._run(replay, ("planned",), once=once, started_by=by, started_at=datetime.now(UTC))

    def approve(self, replay_id: int, by: str) -> Replay:
        """Starts a replay that waits for a second person's approval. Raises ReplayError."""
        replay = self.get(replay_id)
        if replay.state != "approval":
            raise ReplayError(f"Replay {replay_id} is {replay.state}: it does not wait for an approval.")
        if _person(by) in (_person(replay.created_by), _person(replay.started_by or "")):
            raise ReplayError(f"{by} has asked for replay {replay_id}: somebody else has to approve it.")
        return self._run(replay, ("approval",), approved_by=by, started_at=datetime.now(UTC))

    def pause(self, replay_id: int, by: str) -> Replay:
        """When this returns nothing more takes effect, until it is resumed. Raises ReplayError."""
        return self._change(self.get(replay_id), ("running",), state="paused", why=f"paused by {by}")

    def resume(self, replay_id: int, by: str) -> Replay:
        """Goes on with a replay that is paused or was stopped. Raises ReplayError."""
        replay = self.get(replay_id)
        return self._run(replay, ("paused", "stopped"), ended_at=None, why=f"resumed by {by}")

    def stop(self, replay_id: int, by: str) -> Replay:
        """When this returns nothing more takes effect. Raises ReplayError."""
        return self._change(
            self.get(replay_id),
            ("running", "paused"),
            state="stopped",
            ended_at=datetime.now(UTC),
            why=f"stopped by {by}",
        )

    def discard(self, replay_id: int) -> None:
        """Forgets a replay that was never started, and what was laid by for it. Raises ReplayError."""
        replay = self.get(replay_id)

        def work(connection: Connection) -> bool:
            is_unstarted = replays.change(connection, replay_id, _NEVER_STARTED, why="discarded")
            if is_unstarted:
                replays.discard(connection, replay_id)
            return is_unstarted

        if not self._database.attempt(work):
            raise ReplayError(f"Replay {replay_id} is {replay.state}: what it has done stays on record.")

    def release(self, replay_id: int) -> list[str]:
        """Has what a replay holds sent; returns to whom something is due now. Raises UnknownReplayError."""
        self.get(replay_id)
        return self._database.attempt(lambda connection: replays.release(connection, replay_id, datetime.now(UTC)))

    def drop(self, replay_id: int) -> int:
        """Has what a replay holds never sent; returns how much that is. Raises UnknownReplayError."""
        self.get(replay_id)
        return self._database.attempt(lambda connection: replays.drop(connection, replay_id, _DROPPED))

    def _needs_approval(self, replay: Replay) -> bool:
        rule = self._settings.replay_approval
        if replay.mode != "reprocess" or rule == "never":
            return False
        if rule == "always":
            return True
        with self._database.reading() as connection:
            events = replay_items.find_events(connection, replay.id)
        categories = {handler.event.code: handler.category for handler in self._registry}
        return any(categories.get(event, "consequence") == "consequence" for event in events)

    def _run(self, replay: Replay, states: tuple[str, ...], *, once: bool = False, **values: object) -> Replay:
        running = self._change(replay, states, once=once, state="running", **{"why": None, **values})
        now = datetime.now(UTC)

        def work(connection: Connection) -> list[str]:
            replays.finish(connection, now)  # one without any item is done at once
            return replays.find_open_parts(connection, replay.id)

        parts = self._database.attempt(work)
        if self._dispatcher is not None:
            for part in parts:
                if not self._dispatcher.nudge_replay(replay.id, part):
                    break  # the broker is away: the sweep does it later
        return running if parts else self.get(replay.id)

    def _change(self, replay: Replay, states: tuple[str, ...], *, once: bool = False, **values: object) -> Replay:
        """`once`: not where the same replay was started before."""
        try:
            changed = self._database.attempt(
                lambda found: replays.change(found, replay.id, states, once=once, **values)
            )
        except Conflict:
            raise ReplayError("The same replay is under way already. See `fhir-gateway replay list`.") from None
        if not changed:
            now = self.get(replay.id)
            if once and now.state in states:
                raise ReplayError("The same replay was started before. See `fhir-gateway replay list`.")
            raise ReplayError(f"Replay {replay.id} is {now.state}: it cannot become {values['state']}.")
        return self.get(replay.id)


def _person(name: str) -> str:
    """Who it is that is named so in the audit, whether by command or by the API."""
    return name.removesuffix(" (API)").casefold()
