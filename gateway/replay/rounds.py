"""What every kind of replay has to do with: the gateway it runs in, and the rounds in which it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.fhir.message import Ourselves
from gateway.performing import Performer
from gateway.replay.model import Replay
from gateway.routing import Registry
from gateway.store.database import Connection, Database
from gateway.store.inbox import Waiting
from gateway.store.replay_items import Decided, Item
from gateway.terms import Standing

MOST_DEATHS = 3
"""So often a worker may die with an item in hand."""
ROUND = 100
"""Messages of a round, each of another lane."""
ROUND_BYTES = 8 * 1024 * 1024
WINDOW = 1000
"""Items that are looked at together."""
DIED = f"The worker that processed it died, {MOST_DEATHS} times."


@dataclass(slots=True)
class Here:
    """Where a part of a replay runs.

    `pace` waits until so many messages may be carried out. `announce` tells whoever waits for what came of messages,
    by their ids, and `ring` has recipients called. `places` says where a message stands among the items, by the `id()`
    of its head: that is written down in case its worker dies.
    """

    database: Database
    registry: Registry
    ourselves: Ourselves
    standing: Standing
    performer: Performer
    replay: Replay
    part: str
    pace: Callable[[int], None]
    announce: Callable[[Sequence[int]], None]
    ring: Callable[[Sequence[str]], object]
    places: dict[int, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """Messages of a round; where there is a rate, those of a quarter of a second."""
        rate = self.replay.options.rate
        return ROUND if rate is None else max(1, min(ROUND, round(rate / 4)))

    def perform_at(self, places: Sequence[tuple[Waiting, int]]) -> None:
        """From now on these messages, each at its position, are what is in hand."""
        self.places.clear()
        self.places.update((id(head), position) for head, position in places)


class Round(Protocol):
    """What was carried out together, and is to be kept together."""

    def keep(self, connection: Connection, now: datetime) -> list[Decided]:
        """Keeps it, and says what became of each item. Raises Conflict: it is to be kept one by one, anew."""

    def kept(self, decided: Sequence[Decided]) -> None:
        """It was kept: whoever waits for it is told."""

    def singles(self) -> list[Round]:
        """One by one, to be carried out anew."""

    def redo(self) -> None:
        """Carries it out anew."""

    def failed(self, connection: Connection, error: BaseException) -> list[Decided]:
        """Keeps that it could not be kept, whatever others do."""

    @property
    def items(self) -> Sequence[Item]:
        """What it is about."""


@dataclass(slots=True)
class Known:
    """What was clear at once, with nothing carried out."""

    decided: list[Decided]
    items: Sequence[Item] = ()

    def keep(self, _connection: Connection, _now: datetime) -> list[Decided]:
        return self.decided

    def kept(self, decided: Sequence[Decided]) -> None:
        """Nobody waits for it."""

    def singles(self) -> list[Round]:
        return [self]

    def redo(self) -> None:
        """It stays as clear as it was."""

    def failed(self, _connection: Connection, _error: BaseException) -> list[Decided]:
        return self.decided
