"""What the parts of a policy pack must have of each other: what is reached, what ends, what a cancellation comes to."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.fhir.policy.model import FINAL, Machine, Policy, Role

ANSWERS = ("requested", "accepted", "rejected", "completed")
"""The states that a request cannot do without; the gateway itself makes one that it has carried out completed."""

Fault = tuple[str, str]


def faults(policy: Policy) -> Iterator[Fault]:
    """The place of each fault and the sentence that says what is wrong there and what to write."""
    expiring = {policy.expiry.status} if policy.expiry.action == "expire" else set[str]()
    yield from _of_machine("order", policy.order, expiring)
    yield from _of_machine("request", policy.request, {"completed"})
    yield from _of_request(policy.request)
    yield from _of_accepted(policy)
    yield from _of_expiry(policy)


def _of_machine(place: str, machine: Machine, made_by_gateway: set[str]) -> Iterator[Fault]:
    if not machine.initial:
        yield place, "initial is empty, so that no Task can begin. Name the states that a new one may have."
    if not machine.create:
        yield place, "create is empty, so that nobody can make a Task. Name roles."
    for state in machine.initial & FINAL:
        yield place, f"initial has {state}, in which a Task has ended. Leave it out."
    for old in machine.states:
        if old.partition("/")[0] not in FINAL:
            continue
        following = {*machine.moves.get(old, ()), *machine.on_request.get(old, ())}
        for new in sorted(following - {"entered-in-error"} if old != "entered-in-error" else following):
            yield place, f"a Task that is {old} has ended, but moves lead from there to {new}. Leave these out."
    if machine.initial:
        for state in machine.states:
            if state not in _reached(machine) | made_by_gateway:
                yield place, f"no moves lead to the state {state}. Write one that does, or leave the state out."


def _of_request(machine: Machine) -> Iterator[Fault]:
    for state in ANSWERS:
        if state not in machine.states:
            yield "request", f"the state {state} is missing, which every request needs. Write it into states."
    for state in machine.initial - {"requested"}:
        yield "request", f'initial has {state}, but a request begins requested. Write initial = ["requested"].'


def _of_accepted(policy: Policy) -> Iterator[Fault]:
    order, effect = policy.order, policy.accepted
    going_on = [state for state in order.states if not order.is_final(state)]
    waiting = [state for state in going_on if Role.PLACER not in order.who(state, "cancelled")]
    if effect == "left":
        return
    for state in waiting:
        following = {*order.moves.get(state, ()), *order.on_request.get(state, ())}
        if effect not in following and effect != state.partition("/")[0]:
            text = (
                f"accepted is {effect}, but an order that is {state}, whose cancellation waits for an answer, has no "
                f'move to that. Write {{ from = ["{state}"], to = ["{effect}"], on_request = true }}, or another.'
            )
            yield "the pack", text
    if not waiting and effect not in order.states:
        yield "the pack", f"accepted is {effect}, which is no state of an order. Write another, or left."


def _of_expiry(policy: Policy) -> Iterator[Fault]:
    action, status, order = policy.expiry.action, policy.expiry.status, policy.order
    if action == "expire" and not status:
        yield "expiry", "status is missing: what expires becomes that. Write a state in which an order has ended."
    elif status and status not in order.states:
        yield "expiry", f"status is {status}, which is no state of an order. There are {_ends(order)}."
    elif status and status not in FINAL - {"entered-in-error"}:
        yield "expiry", f"status is {status}, in which an order has not ended. Write one of {_ends(order)}."


def _ends(machine: Machine) -> str:
    return ", ".join(state for state in machine.states if state in FINAL - {"entered-in-error"})


def _reached(machine: Machine) -> set[str]:
    reached, ahead = set[str](), [*machine.initial]
    while ahead:
        state = ahead.pop()
        if state not in reached:
            reached.add(state)
            ahead += [*machine.moves.get(state, ()), *machine.on_request.get(state, ())]
    return reached
