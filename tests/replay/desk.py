"""A gateway's core with an operator at it: messages come in, are carried out or not, and are replayed; one process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway import routing
from gateway.fhir import json
from gateway.in_hand import InHand
from gateway.processing import Processor
from gateway.receiving import Received, Submission, receive
from gateway.replay import reporting
from gateway.replay.files.sources import Found
from gateway.replay.life import Asked, Replays
from gateway.replay.model import Line, Mode, Options, Progress, Replay, Source
from gateway.replay.work import Replayer
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store import replays, schema
from gateway.store.database import Database
from gateway.store.inbox import Waiting
from gateway.store.selections import Selection
from gateway.terms import Terms
from tests.handlers import CHECKING, OURSELVES
from tests.senders import read
from tests.terms import TERMS

JSON = "application/fhir+json"
EVERYTHING = Selection()


class Jobs:
    """The jobs that wait, which a test carries out itself; and who was called for."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, str]] = []
        self.rung: list[str] = []
        self.announced: list[int] = []

    def nudge_replay(self, replay_id: int, part: str) -> bool:
        self.parts.append((replay_id, part))
        return True

    def nudge_delivery(self, recipient: str) -> bool:
        self.rung.append(recipient)
        return True

    def ring(self, _recipient: str) -> bool:
        return True

    def announce(self, message_ids: Sequence[int]) -> None:
        self.announced += message_ids


class Holding:
    """Held around each message: it is written down by name, and may be said to have taken too long."""

    def __init__(self, name_of: Callable[[Waiting], str]) -> None:
        self.name_of = name_of
        self.overdue: Waiting | None = None

    def __call__(self, _head: Waiting) -> AbstractContextManager[None]:
        return nullcontext()

    def take_overdue(self) -> Waiting | None:
        overdue, self.overdue = self.overdue, None
        return overdue


class Desk:
    """`jobs` are those of replays that wait; `run` carries them out."""

    def __init__(
        self, url: str, directory: Path, terms: Terms = TERMS, registry: Registry | None = None, **settings: Any
    ) -> None:
        self.url = url
        self.database = Database(url)
        self.registry = registry or routing.load(["handlers"])
        self.settings = Settings(
            name=OURSELVES.name,
            endpoint=OURSELVES.endpoint,
            base_url=OURSELVES.base_url,
            database_url=url,
            var=directory,
            **settings,
        )
        self.jobs = Jobs()
        self.replays = Replays(self.database, self.registry, terms, self.settings, self.jobs)  # type: ignore[arg-type]
        self.processor = Processor(self.database, self.registry, OURSELVES, CHECKING, terms, ())
        self.replayer = self.worker(terms, directory)

    def worker(self, terms: Terms, directory: Path) -> Replayer:
        """Another worker of replays."""
        in_hand = InHand(directory / f"{uuid.uuid4()}.in-hand")
        given = (self.database, self.registry, terms, self.settings, self.jobs, self.jobs, in_hand)
        return Replayer(*given, Holding)  # type: ignore[arg-type]

    def receive(self, *bundles: Any) -> list[Received]:
        """Keeps messages, and does nothing with them."""
        return [
            receive(
                self.database,
                self.registry,
                OURSELVES,
                read(bundle),
                Submission(json.serialize(bundle), JSON, "json", None, later=False, request_id="test"),
            )
            for bundle in bundles
        ]

    def process(self, *received: Received) -> list[str]:
        """Carries out what waits in the lanes of messages, one after the other; what became of each."""
        outcomes = []
        lanes = list(dict.fromkeys(one.lane for one in received))
        while due := self.processor.find_due(lanes):
            outcomes += [one.outcome for one in self.processor.process(due)]
        return outcomes

    def set_dead(self, *ids: int, error: str = "RuntimeError: it broke") -> None:
        """As if their handlers had failed to the last."""
        self.execute(
            sa.update(schema.message)
            .where(schema.message.c.id.in_(ids))
            .values(state="dead", attempts=1, error=error, first_error=error)
        )

    def plan(
        self,
        mode: Mode = "apply",
        selection: Selection = EVERYTHING,
        *,
        source: Source = "inbox",
        by: str = "operator",
        found: Sequence[Found] = (),
        **options: Any,
    ) -> Replay:
        return self.replays.plan(Asked(mode, source, selection, Options(**options), by), found)

    def replay(
        self, mode: Mode = "apply", selection: Selection = EVERYTHING, *, confirmed: int | None = None, **given: Any
    ) -> Progress:
        """Plans a replay, starts it, and carries it out."""
        replay = self.plan(mode, selection, **given)
        self.replays.start(replay.id, "operator", replay.items if confirmed is None else confirmed)
        return self.run(replay.id)

    def run(self, replay_id: int) -> Progress:
        """Carries out what is on the queue, until nothing is."""
        while self.jobs.parts:
            self.replayer.replay(*self.jobs.parts.pop(0))
        return self.replays.progress(replay_id)

    def lines(self, replay_id: int) -> list[Line]:
        """What became of each item."""
        return list(reporting.rows(self.database, replay_id))

    def execute(self, statement: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(statement)

    def rows(self, statement: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(statement))

    def versions(self) -> int:
        [(found,)] = self.rows(sa.select(sa.func.count()).select_from(schema.resource_version))
        return int(found)

    def reply_of(self, message_id: int) -> dict[str, Any]:
        kept = schema.outbox.c
        its = sa.select(kept.content).where(
            kept.message_id == message_id, kept.kind == "reply", kept.resent_of.is_(None)
        )
        [(content,)] = self.rows(its)
        found: dict[str, Any] = json.parse(bytes(content))
        return found

    def open_parts(self, replay_id: int) -> list[str]:
        with self.database.reading() as connection:
            return replays.find_open_parts(connection, replay_id)


def found(*bundles: Any, names: Sequence[str] = ()) -> list[Found]:
    """Messages as they come in files."""
    named = names or [f"{number}.json" for number in range(len(bundles))]
    return [Found(name, JSON, json.serialize(bundle), None, None) for name, bundle in zip(named, bundles, strict=True)]


def now() -> datetime:
    return datetime.now(UTC)
