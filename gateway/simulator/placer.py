"""A placer that is played: places orders, updates or cancels some, waits for what comes of them, and reports."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.fhir.json import Resource
from gateway.simulator import templates
from gateway.simulator.calling import Answered
from gateway.simulator.partner import Part, Partner
from gateway.simulator.reading import Word, event_of, find_word, header_of, response_of

Kind = Literal["order", "update", "cancel"]
_OPEN = ("pending", "held", "already-pending")


@dataclass(frozen=True, slots=True)
class Plan:
    """What it does: so many orders `to` somebody, so many a second, these parts of them updated and cancelled.

    Cancelled so many seconds after the order was answered. `hears` is whether it can be told how they go on; then
    cancellations are waited for until they are decided, and the others until it is told `until`, if that is said.
    """

    to: Part
    orders: int = 1
    rate: float | None = None
    update: float = 0.0
    cancel: float = 0.0
    cancel_after: float = 0.0
    asynchronous: bool = False
    hears: bool = False
    until: str | None = None
    template: Resource | None = None


@dataclass(slots=True)
class Placed:
    """An order: the code of its answer, that of its update's, what its cancellation has come to, what it was told."""

    value: str
    is_updated: bool
    is_cancelled: bool
    is_overtaken: bool = False
    header_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    code: str | None = None
    update_code: str | None = None
    outcome: Word | None = None
    told: list[str] = field(default_factory=list)

    def missing(self, plan: Plan) -> str | None:
        """What has not come, in words."""
        if self.code in (None, "transient-error"):
            return "no answer to the order"
        if self.code != "ok":
            return None
        if self.is_updated and self.update_code in (None, "transient-error"):
            return "no answer to the update"
        if self.is_cancelled and self.outcome is None:
            return "no outcome of the cancellation"
        if self.is_cancelled and plan.hears and self.outcome and self.outcome.means in _OPEN:
            return f"the cancellation is {self.outcome.word} still"
        if plan.until and not self.is_cancelled and plan.until not in self.told:
            return f"not told that it is {plan.until}"
        return None


class Placer(Partner):
    """Raises TemplateError where its network has no message for what is planned."""

    def __init__(self, *args: Any, plan: Plan, seed: int = 0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.plan = plan
        dice = random.Random(f"{seed} plan")
        run = uuid.uuid4().hex[:8].upper()
        self.orders = {
            value: Placed(value, dice.random() < plan.update, dice.random() < plan.cancel)
            for value in (f"{run}-{number:05}" for number in range(1, plan.orders + 1))
        }
        self._templates = {"order": plan.template or templates.load(self.part.dialect, "order")}
        for name, part in (("update", plan.update), ("cancel", plan.cancel)):
            if part:
                self._templates[name] = templates.load(self.part.dialect, name)
        self._waiting: dict[str, tuple[Placed, Kind]] = {}

    def place(self) -> None:
        """Begins to place all orders; `wait` waits for what comes of them."""
        for number, order in enumerate(self.orders.values()):
            self.agenda.at(number / self.plan.rate if self.plan.rate else 0, self._placing(order))

    def wait(self, seconds: float) -> bool:
        """Whether everything has come within so many seconds of the last order's turn."""
        more = len(self.orders) / self.plan.rate if self.plan.rate else 0
        return self.agenda.wait(more + seconds, self.is_done)

    def is_done(self) -> bool:
        with self._lock:
            return not any(order.missing(self.plan) for order in self.orders.values())

    def told(self, message: Resource) -> None:
        response = response_of(message)
        waiting = self._waiting.get(response[0].lower().removeprefix("urn:uuid:")) if response else None
        if waiting and response:
            self._forget(*waiting)
            self._answered(*waiting, Answered(None, message, response[1], 1, ""))
            return
        about = [order for value, order in self.orders.items() if value in set(_strings(message))]
        word = find_word(self.words.placer, message)
        outcome = find_word(self.words.outcome, message) if any(order.is_cancelled for order in about) else None
        what = word.means if word else outcome.word if outcome else event_of(message) or "something"
        self.note(f"told: {what}", ", ".join(order.value for order in about))
        for order in about:
            if word and word.means not in order.told:
                order.told.append(word.means)
            if order.is_cancelled and (order.outcome is None or order.outcome.means in _OPEN):
                order.outcome = outcome or order.outcome

    def report(self) -> list[str]:
        """What has become of everything, a line each."""
        orders = list(self.orders.values())
        cancelled = [order for order in orders if order.is_cancelled and order.code == "ok"]
        outcomes = (order.outcome for order in cancelled)
        told = Counter(means for order in orders for means in order.told)
        missing = Counter(what for order in orders if (what := order.missing(self.plan)))
        lines = [
            f"placed: {len(orders)}",
            f"answered: {_counted(Counter(order.code or 'not at all' for order in orders))}",
            f"updated: {_counted(Counter(str(order.update_code) for order in orders if order.is_updated))}",
            f"cancelled: {_counted(Counter(_shown(word) if word else 'no outcome' for word in outcomes))}",
            f"told: {_counted(told)}",
            f"missing: {_counted(missing)}",
        ]
        faulty = {name: count for name, count in self.tally.items() if not name.startswith("told: ")}
        return [*lines, f"beside: {_counted(Counter(faulty))}"] if faulty else lines

    # --- one order ----------------------------------------------------------------------------------------------------

    def _placing(self, order: Placed) -> Callable[[], None]:
        def act() -> None:
            order.is_overtaken = order.is_cancelled and "out-of-order" in self.faults.draw_sending("out-of-order")
            if order.is_overtaken:
                self.note("sent out of order")
                self._send(order, "cancel")
            self._send(order, "order")

        return act

    def _send(self, order: Placed, kind: Kind) -> None:
        ids = {"bundle": str(uuid.uuid4()), "header": order.header_id if kind == "order" else str(uuid.uuid4())}
        values = {
            **self.plan.to.values("them"),
            "order.system": self.words.order_system,
            "order.value": order.value,
            "previous": order.header_id,
            **ids,
        }
        template = self._templates[kind]
        if self.plan.asynchronous:
            with self._lock:
                self._waiting |= dict.fromkeys(ids.values(), (order, kind))
        faults = ("late", "twice") if kind == "order" else ("late", "wrong", "twice")
        answered = self.say(template, values, kind, asynchronous=self.plan.asynchronous, faults=faults)
        if not (self.plan.asynchronous and answered.code == "ok" and not header_of(answered.resource)):
            with self._lock:
                self._forget(order, kind)
                self._answered(order, kind, answered)

    def _forget(self, order: Placed, kind: Kind) -> None:
        self._waiting = {name: waiting for name, waiting in self._waiting.items() if waiting != (order, kind)}

    def _answered(self, order: Placed, kind: Kind, answered: Answered) -> None:
        with self._lock:
            if kind == "order":
                order.code = answered.code
                if answered.code == "ok":
                    self._go_on(order)
            elif kind == "update":
                order.update_code = answered.code
            if (kind == "cancel" or order.is_overtaken) and (order.outcome is None or order.outcome.means in _OPEN):
                order.outcome = find_word(self.words.outcome, answered.resource, answered.status) or order.outcome

    def _go_on(self, order: Placed) -> None:
        if order.is_updated:
            self.agenda.at(0, lambda: self._send(order, "update"))
        if order.is_cancelled and not order.is_overtaken:
            self.agenda.at(self.plan.cancel_after, lambda: self._send(order, "cancel"))


def _shown(word: Word) -> str:
    return word.means if word.word == word.means else f"{word.means} ({word.word})"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
