"""`answer` and `send`: what the outbox has is sent once more, as it was, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.replay.rounds import Here, Known, Round
from gateway.replay.targets import LISTED, Nobody, Target, Targets
from gateway.store import replaying
from gateway.store.database import Connection
from gateway.store.replay_items import Decided, Item

_TOGETHER = 500


class Resending:
    """Has entries of the outbox sent again."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._targets = Targets(here.standing.current().partners, here.replay.options.to)

    def rounds(self, items: Sequence[Item]) -> Iterator[Round]:
        """As entries of their own, in the order of the first ones."""
        together = _TOGETHER if self._here.replay.options.rate is None else self._here.most
        for start in range(0, len(items), together):
            some = items[start : start + together]
            self._here.pace(len(some))
            yield self._judged(some)

    def _judged(self, items: Sequence[Item]) -> Round:
        of_entries = self._here.replay.source == "outbox"
        ids = [(item.outbox_id if of_entries else item.message_id) or 0 for item in items]
        with self._here.database.reading() as connection:
            found = (replaying.find_entries if of_entries else replaying.find_replies)(connection, ids)
        decided: list[Decided] = []
        sent: dict[Target, list[tuple[Item, int]]] = {}
        for item, asked_as in zip(items, ids, strict=True):
            outbox_id, kept = found.get(asked_as, (None, None))
            target = self._targets.find(kept)
            if isinstance(target, Nobody):
                decided.append(Decided(item.position, target.outcome, target.why))
            elif self._here.replay.options.effects == "suppress":
                decided.append(Decided(item.position, "skipped", LISTED))
            else:
                assert outbox_id is not None
                sent.setdefault(target, []).append((item, outbox_id))
        return Resent(self._here, sent, decided, items) if sent else Known(decided, items)


@dataclass(slots=True)
class Resent:
    """What is sent again together, by whom it goes to."""

    here: Here
    sent: dict[Target, list[tuple[Item, int]]]
    decided: list[Decided]
    items: Sequence[Item] = field(default_factory=list)

    def keep(self, connection: Connection, now: datetime) -> list[Decided]:
        is_held = self.here.replay.options.effects == "hold"
        decided = list(self.decided)
        for target, entries in self.sent.items():
            is_polled = target.destination is None
            values: dict[str, Any] = {
                "recipient": target.recipient,
                "destination": target.destination,
                "state": "held" if is_held else "queued" if is_polled else "due",
                "due_at": None if is_polled else now,
                "created_at": now,
                "replay_id": self.here.replay.id,
            }
            made = replaying.send_again(connection, [entry for _, entry in entries], values)
            outcome = "held" if is_held else "sent"
            decided += [Decided(item.position, outcome, made_id=made.get(entry)) for item, entry in entries]
        return decided

    def kept(self, _decided: Sequence[Decided]) -> None:
        if self.here.replay.options.effects == "send":
            self.here.ring([target.recipient for target in self.sent if target.destination is not None])

    def singles(self) -> list[Round]:
        return [self]

    def redo(self) -> None:
        """It is as it was."""

    def failed(self, _connection: Connection, error: BaseException) -> list[Decided]:
        return [Decided(item.position, "failed", type(error).__name__) for item in self.items]
