"""A replay: of what it is, how it is done, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gateway.performing import Effects
from gateway.store.selections import Selection

Mode = Literal["answer", "send", "dry-run", "apply", "reprocess"]
Source = Literal["inbox", "outbox", "files"]
State = Literal["staging", "planned", "approval", "running", "paused", "stopped", "done"]
Outcome = Literal["ok", "refused", "skipped", "left", "failed", "unreadable", "impossible", "sent", "held"]

MODES: Mapping[Mode, str] = {
    "answer": "Send the stored replies again. Nothing takes effect.",
    "send": "Send again what the outbox has: answers, messages and notifications. Nothing takes effect.",
    "dry-run": "Run everything, report what would change, and undo it.",
    "apply": "Carry out what never took effect, and skip what did, or was refused.",
    "reprocess": "Carry out again what was carried out, against what is kept now.",
}
EFFECTS: Mapping[Effects, str] = {
    "send": "Partners are told at once, as always.",
    "hold": "What they would be told is kept, until it is released or dropped.",
    "suppress": "Partners are told nothing.",
}
OUTCOMES: Mapping[Outcome, str] = {
    "ok": "It has taken effect now; in a dry run, it would.",
    "refused": "It was carried out, and refused (fatal-error); in a dry run, it would be.",
    "skipped": "It had its effect or its answer before. Nothing was done.",
    "left": "It waits for its turn, or an earlier message of the same Task does; it is on its way. Nothing was done.",
    "failed": "Its handler failed, or its worker died. It is set aside, with the cause.",
    "unreadable": "The file has no message that can be read. Nothing was done.",
    "impossible": "It cannot be done: it is not kept any more, its partner is gone, or nobody is to be sent to.",
    "sent": "It is on its way again.",
    "held": "It would be on its way again, and is held until it is released.",
}
TROUBLE: frozenset[str] = frozenset({"left", "failed", "unreadable", "impossible"})
"""Outcomes that an operator has to look at."""
SENDS: frozenset[Mode] = frozenset({"answer", "send"})
ENDED: frozenset[State] = frozenset({"stopped", "done"})


@dataclass(frozen=True, slots=True)
class Options:
    """How a replay is done.

    `effects` is what becomes of what partners would be told or sent; `to` is the partner to whom all is sent in place
    of those it went to; `rate` is messages a second, `limit` how many at most, the first ones. `trial_of` is what a dry
    run tries. `again` makes it another replay than the one that was done with the same words before.
    """

    effects: Effects = "send"
    to: str | None = None
    rate: float | None = None
    limit: int | None = None
    stop_on_failure: bool = False
    trial_of: Literal["apply", "reprocess"] = "apply"
    again: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of one kind in a forecast: their event, their sender, what had become of them, what would become now.

    `what` is one of Outcome, or `process` for what would be carried out.
    """

    event: str
    sender: str
    before: str
    what: str
    messages: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a replay would do: `messages` in all, by `groups`; `others` are those of groups too many to be listed.

    `recipients` are whom it would be sent to, and how much; `warnings` are sentences. `first` and `last` are when the
    first and the last of them were received, or sent.
    """

    messages: int
    groups: tuple[Group, ...] = ()
    others: int = 0
    first: datetime | None = None
    last: datetime | None = None
    recipients: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def count(self, *what: str) -> int:
        return sum(group.messages for group in self.groups if group.what in what)


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay as it is kept."""

    id: int
    mode: Mode
    source: Source
    selection: Selection
    options: Options
    state: State
    items: int
    forecast: Forecast | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    started_by: str | None
    approved_by: str | None
    ended_at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come: how many of its items have which outcome, and how many have none yet."""

    replay: Replay
    counts: Mapping[str, int]
    remaining: int
    held: int = 0
    """How much of what it would send is held now."""

    @property
    def done(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a report: one message, or one file that is none."""

    number: int
    message_id: int | None
    outbox_id: int | None
    file: str | None
    event: str | None
    sender: str | None
    bundle_id: str | None
    before: str | None
    first_error: str | None
    outcome: str | None
    detail: str | None
    made_id: int | None
    changes: Any = None
