"""A day of traffic: orders, updates, cancellations, changes, what goes wrong on any day; the same for the same seed.

day = Day(messages=100_000, tasks=20_000)
for said in day.said:                            # in the order of the day, which is that of the Bundles' timestamps
    post(day_messages.body(said), said.media_type)

Each message has its senders' own identifiers only, so that a day can be played into any gateway that is empty. What
becomes of each, and of each order, is known beforehand: `Said.is_refused`, `Day.statuses`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

FHIR_JSON, FHIR_XML = "application/fhir+json", "application/fhir+xml"
HOSPITALS = tuple(f"DAY-HOSPITAL-{number}" for number in range(1, 6))
PHARMACIES = tuple(f"DAY-PHARMACY-{number}" for number in range(1, 6))

What = Literal["order", "update", "cancellation", "change", "notice", "unheard-of"]
How = Literal["again", "resent", "conflict"]

_SHARES = {"again": 0.02, "resent": 0.003, "conflict": 0.005, "unheard-of": 0.003, "unknown": 0.004, "notice": 0.01}
"""How many of the messages are something else than a step of an order's story."""
_XML = 0.03
_PAUSE = 0.01
"""Between two messages about an order, as a part of the day."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message: the `number`th of the day; by its `line` and its `place` in that it is known to its sender.

    A line has what must take effect in order: of an order (below `Day.tasks`), of one that nobody knows, of a sender.
    `how` is that of what was said before: in the same bytes (again), with a Bundle.id of its own (resent), or under the
    same ids with other words (conflict). `at` is when it was written: the number it had when it was said first.
    """

    what: What
    sender: str
    line: int
    place: int
    status: str = ""
    text: str = ""
    is_refused: bool = False
    is_answer: bool = False
    media_type: str = FHIR_JSON
    how: How | None = None
    of: int | None = None
    number: int = 0
    at: float = 0.0
    """The part of the day that is over."""


@dataclass(frozen=True, slots=True)
class _Story:
    """What befalls an order: how often, each step (by whom, what, to which status), and the status it ends with.

    By P the placer, F the fulfiller, S a stranger; what has a ! is refused. `notes_at`: before which step notes are
    written to it, if ever.
    """

    weight: int
    steps: str
    end: str
    notes_at: int | None = None


_RECEIVED = "P order, F update received"
_BEGUN = "P order, F update accepted, F update in-progress"
_STORIES = (
    _Story(20, f"{_BEGUN}, F update completed", "completed", 3),
    _Story(
        16, "P order, F update received, F update accepted, F update in-progress, F update completed", "completed", 4
    ),
    _Story(6, f"{_BEGUN}, F update completed, F! update in-progress", "completed", 3),
    _Story(6, f"{_BEGUN}, S! update on-hold, F update completed", "completed", 3),
    _Story(8, f"{_BEGUN}, P cancellation requested, F cancellation accepted", "cancelled", 3),
    _Story(6, f"{_BEGUN}, P cancellation requested, F cancellation rejected, F update completed", "completed", 3),
    _Story(6, "P order, P cancellation requested", "cancelled"),
    _Story(5, "P order, F update accepted, P cancellation requested, F! update in-progress", "cancelled", 2),
    _Story(2, "P cancellation requested, P order", "cancelled"),
    _Story(5, "P order, F update rejected", "rejected"),
    _Story(4, "P order, F update accepted, P update cancelled", "cancelled", 2),
    _Story(6, f"{_BEGUN}, P change requested, F change accepted, F update completed", "completed", 3),
    _Story(3, f"{_BEGUN}, P change requested, F change rejected", "in-progress", 3),
    _Story(2, f"{_RECEIVED}, P change requested", "received", 2),
    _Story(3, f"{_BEGUN}, F update on-hold, F update in-progress, F update failed", "failed", 3),
    _Story(2, "P order, F update accepted, P update entered-in-error, P! update cancelled", "entered-in-error", 2),
)


@dataclass(frozen=True)
class Day:
    """So many messages about so many orders, which are numbered from `first`: other days have other orders.

    Raises ValueError where the orders alone need more messages.
    """

    messages: int
    tasks: int
    seed: int = 1
    first: int = 0

    @cached_property
    def said(self) -> list[Said]:
        """All messages, in the order of the day."""
        chance = random.Random(f"said {self.seed}")
        beside = {name: int(self.messages * share) for name, share in _SHARES.items()}
        lines = [self._line(task, story) for task, story in enumerate(self._stories, self.first)]
        notes = self.messages - sum(map(len, lines)) - sum(beside.values())
        if notes < 0:
            raise ValueError(f"{self.tasks} orders need {-notes} messages more.")
        self._write_notes(lines, notes, chance)
        for name in ("unheard-of", "resent", "conflict", "again"):
            for _ in range(beside[name]):
                _add(name, chance.choice(lines), chance)
        lines += self._unknown(beside["unknown"]) if self.tasks else []
        lines += self._notices(self.first + len(lines), beside["notice"])
        return _in_order(lines, chance)

    @cached_property
    def statuses(self) -> dict[int, str]:
        """The status that each order ends with, by its number."""
        return {task: story.end for task, story in enumerate(self._stories, self.first)}

    @cached_property
    def _stories(self) -> list[_Story]:
        chance = random.Random(f"stories {self.seed}")
        return chance.choices(_STORIES, [story.weight for story in _STORIES], k=self.tasks)

    def _line(self, task: int, story: _Story) -> list[Said]:
        steps = (step.split() for step in story.steps.split(", "))
        return [_step(task, place, *step) for place, step in enumerate(steps)]

    def _write_notes(self, lines: list[list[Said]], number: int, chance: random.Random) -> None:
        """Places are renumbered: notes come between the steps."""
        places = [(task, at) for task, story in enumerate(self._stories) if (at := story.notes_at) is not None]
        for _ in range(number):
            task, at = chance.choice(places)
            line = lines[task]
            by, text = chance.choice(parties(self.first + task)[:2]), f"Note {len(line)}: said on the telephone"
            line.insert(at, replace(line[at - 1], what="update", sender=by, text=text, place=len(line)))

    def _unknown(self, number: int) -> list[list[Said]]:
        return [[_step(self.first + self.tasks + n, 0, "F!", "update", "accepted")] for n in range(number)]

    def _notices(self, first: int, number: int) -> list[list[Said]]:
        senders = (*HOSPITALS, *PHARMACIES)
        lines: list[list[Said]] = [[] for _ in senders]
        for n in range(number):
            which = n % len(senders)
            lines[which].append(Said("notice", senders[which], first + which, len(lines[which]), text=f"Notice {n}"))
        return lines


def parties(task: int) -> tuple[str, str, str]:
    """The placer of an order, its fulfiller, and a pharmacy that has nothing to do with it."""
    number = task // len(HOSPITALS)
    return (
        HOSPITALS[task % len(HOSPITALS)],
        PHARMACIES[number % len(PHARMACIES)],
        PHARMACIES[(number + 1) % len(PHARMACIES)],
    )


def _step(task: int, place: int, by: str, what: str, status: str = "requested") -> Said:
    sender = parties(task)["PFS".index(by[0])]
    is_answer = what in ("cancellation", "change") and by == "F"
    return Said(cast(What, what), sender, task, place, status, is_refused=by.endswith("!"), is_answer=is_answer)


def _add(name: str, line: list[Said], chance: random.Random) -> None:
    """Adds to an order's line what is no step of its story; to say something again it must have been said."""
    if name == "unheard-of":
        said = replace(
            line[0], what="unheard-of", status="requested", place=len(line), is_refused=True, is_answer=False
        )
        line.insert(chance.randint(0, len(line)), said)
        return
    at = chance.randrange(len(line))
    while line[at].how is not None:
        at = chance.randrange(len(line))
    place = chance.randint(at + 1, len(line))
    if name == "conflict":
        line.insert(place, replace(line[at], how="conflict", text=f"Other words {len(line)}", is_refused=True))
    else:
        line.insert(place, replace(line[at], how="again" if name == "again" else "resent"))


def _in_order(lines: list[list[Said]], chance: random.Random) -> list[Said]:
    """The whole day: each line in its order, all of them mixed, each message with its number."""
    moments: list[tuple[float, int, int]] = []
    for which, line in enumerate(lines):
        is_spread = bool(line) and line[0].what == "notice"
        moment = chance.random()
        for place in range(len(line)):
            moment = place / len(line) if is_spread else moment + chance.expovariate(1 / _PAUSE)
            moments.append((moment, which, place))
    moments.sort()
    return list(_numbered(lines, moments, chance))


def _numbered(lines: list[list[Said]], moments: list[tuple[float, int, int]], chance: random.Random) -> Iterator[Said]:
    first: dict[tuple[int, int], Said] = {}
    for number, (_, which, place) in enumerate(moments):
        said = lines[which][place]
        known_as = said.line, said.place
        if said.how is None:
            kind = FHIR_XML if chance.random() < _XML else FHIR_JSON
            said = replace(said, number=number, at=number / len(moments), media_type=kind)
            first[known_as] = said
        else:
            before = first[known_as]
            at = number / len(moments) if said.how == "conflict" else before.at
            said = replace(said, number=number, at=at, of=before.number, media_type=before.media_type)
        yield said
