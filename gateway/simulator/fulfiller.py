"""A fulfiller that is played: takes the orders that it is told of, goes on with them, and answers cancellations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.fhir.json import Resource
from gateway.simulator import templates
from gateway.simulator.partner import Partner
from gateway.simulator.reading import event_of, find_word, header_of, values_at

Conduct = Literal["silent", "reject", "accept", "start", "complete"]
Decision = Literal["accept", "reject", "ignore"]

STEPS: Mapping[Conduct, tuple[str, ...]] = {
    "silent": (),
    "reject": ("rejected",),
    "accept": ("accepted",),
    "start": ("accepted", "started"),
    "complete": ("accepted", "started", "completed"),
}
"""What it says of each order, one after the other: names of templates."""
_DECISIONS: Mapping[Decision, str] = {"accept": "cancellation-accepted", "reject": "cancellation-rejected"}


@dataclass(slots=True)
class Known:
    """An order that it was told of: what is said again of it, what it has said, and whether it is still at it."""

    values: dict[str, str]
    said: list[str] = field(default_factory=list)
    goes_on: bool = True


class Fulfiller(Partner):
    """`conduct` is how it goes on with each order, `cancel` what it answers to who asks for a cancellation; if that is
    not said, it accepts, where its network has words for it. Each of its messages comes `delay` seconds after what it
    follows. Raises TemplateError where its network cannot say that."""

    def __init__(
        self,
        *args: Any,
        conduct: Conduct = "complete",
        cancel: Decision | None = None,
        delay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.orders: dict[str, Known] = {}
        self._delay = delay
        possible = templates.names(self.part.dialect)
        wanted = STEPS[conduct]
        self._steps = [step for step in wanted if step in possible]
        if cancel is None:
            cancel = "accept" if _DECISIONS["accept"] in possible else "ignore"
        self._decision = _DECISIONS.get(cancel)
        for name in (*wanted[-1:], *([self._decision] if self._decision else [])):
            templates.load(self.part.dialect, name)

    def told(self, message: Resource) -> None:
        word, number = find_word(self.words.fulfiller, message), self.words.read("order", message)
        known = self.orders.get(number[1]) if number else None
        what = word.means if word else event_of(message) or "something"
        self.note(f"told: {'update' if known and what == 'order' else what}", number[1] if number else "")
        if word is None or number is None:
            return
        if known is None:
            known = self.orders[number[1]] = Known({})
            if word.means == "order":
                self._go_on(known, self._steps)
        known.values |= self._read(message)
        if word.means == "cancelled":
            known.goes_on = False
        elif word.means == "cancellation":
            self._decide(known)

    def _read(self, message: Resource) -> dict[str, str]:
        """What is said again: identifiers, the id to quote, and who has sent it."""
        found = {name: self.words.read(name, message) for name in self.words.values}
        header = header_of(message)
        sender = next(values_at(header, "sender.identifier"), None) or {}
        them = {
            "name": next(values_at(header, "sender.display"), None) or sender.get("value"),
            "system": sender.get("system"),
            "value": sender.get("value"),
            "endpoint": next(values_at(header, "source.endpoint"), None),
        }
        return {
            **{f"{name}.system": identifier[0] for name, identifier in found.items() if identifier},
            **{f"{name}.value": identifier[1] for name, identifier in found.items() if identifier},
            **{f"them.{name}": value for name, value in them.items() if value},
            "heard.message": self.words.quoted(message),
        }

    def _go_on(self, known: Known, steps: Sequence[str]) -> None:
        if not steps or not known.goes_on:
            return
        step, *rest = steps
        if rest and "out-of-order" in self.faults.draw_sending("out-of-order"):
            self.note("sent out of order")
            step, rest[0] = rest[0], step

        def act() -> None:
            if known.goes_on:
                self._say(known, step)
                self._go_on(known, rest)

        self.agenda.at(self._delay, act)

    def _decide(self, known: Known) -> None:
        decision = self._decision
        if decision is None:
            return
        known.goes_on = known.goes_on and decision != "cancellation-accepted"
        self.agenda.at(self._delay, lambda: self._say(known, decision))

    def _say(self, known: Known, name: str) -> None:
        answered = self.say(templates.load(self.part.dialect, name), known.values, name)
        known.said.append(name)
        self.tally[f"{name}: {answered.code}"] += 1
