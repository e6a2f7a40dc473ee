"""The parts of an order (`Task.partOf`): who may make one, and what they give to the whole.

A part is an order of its own, placed by the fulfiller of the whole, whose work it is a share of, or by its placer. Its
outputs are outputs of the whole too, and of what that is a part of, so that the state of the whole is read from it
alone. The status of the whole is its fulfiller's to set: parts that are open do not hinder its end, and are named.
"""

from collections.abc import Iterator
from typing import Any

from gateway import Entry, Issue, Kept, Message, Records, Refused, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role
from gateway.fhir.task.contained import carried, with_contained
from gateway.fhir.task.elements import dicts, identifiers_of, is_focus, request_code, status_of
from gateway.fhir.task.lists import MOST, raised, values_gone
from gateway.fhir.task.merging import dated
from gateway.fhir.task.settled import COMPLETED
from handlers.rules.references import name_in

_VALUE = "valueReference"
_DEEPEST = 16
_MOST_NAMED = 10
_NO_RESULT = ("rejected", "entered-in-error")


def grounded(task: Resource, entry: Entry, records: Records) -> Resource:
    """The Task with what it is about and part of, gets and gives as references to what is kept, where that is known.

    Those are the References by a business identifier in `focus`, `partOf`, `input`, `output` and the further focuses.
    """

    def to_kept(value: Any) -> Any:
        if not isinstance(value, dict) or "reference" in value or not name_in(value):
            return value
        target = records.follow(value, entry)
        return value | {"reference": target.reference} if target else value

    def inside(name: str) -> list[Any]:
        return [
            item | {_VALUE: to_kept(item[_VALUE])} if isinstance(item, dict) and _VALUE in item else item
            for item in task[name]
        ]

    result = dict(task)
    if "focus" in task:
        result["focus"] = to_kept(task["focus"])
    if isinstance(task.get("partOf"), list):
        result["partOf"] = [to_kept(whole) for whole in task["partOf"]]
    lists = ["input", "output", *(["extension"] if any(map(is_focus, dicts(task.get("extension")))) else [])]
    return result | {name: inside(name) for name in lists if isinstance(task.get(name), list)}


def check_wholes(entry: Entry, kept: Kept | None, records: Records) -> list[Issue]:
    """What keeps a Task from being a part of what it says it is; `kept` is the Task itself, if it is kept already."""
    issues: list[Issue] = []
    for number, reference in enumerate(dicts(entry.resource.get("partOf"))):
        issues += _check_whole(f"{entry.path}.partOf[{number}]", records.follow(reference, entry), kept, records)
    return issues


def raise_outputs(before: Kept | None, order: Kept, message: Message, records: Records) -> Reply:
    """Gives the outputs of a part to its whole, and to what that is a part of, and so on."""
    if status_of(order.resource) in _NO_RESULT:
        return Reply()
    changed, now = [], instant(message.received_at)
    ahead: list[tuple[Kept | None, Kept, int]] = [(before, order, 0)]
    while ahead:
        earlier, part, depth = ahead.pop()
        for whole in wholes(part, records) if depth < _DEEPEST else ():
            if after := _raised(whole, earlier, part, records, now):
                changed.append(after)
                ahead.append((whole, after, depth + 1))
    return Reply(tuple(whole for whole in changed if records.roles(whole) - {Role.CANDIDATE}))


def name_open_parts(before: Kept | None, order: Kept, _message: Message, records: Records) -> Reply:
    """Names the parts of an order that has just ended which have not: each goes on until its own placer ends it."""
    machine = records.policy.order
    if before is None or machine.is_final(machine.state_of(before.resource)):
        return Reply()
    state = machine.state_of(order.resource)
    if not machine.is_final(state):
        return Reply()
    parts = _parts(order, records)
    still_open = [part for part in parts or () if not machine.is_final(machine.state_of(part.resource))]
    if parts is not None and not still_open:
        return Reply()
    names = [next(iter(identifiers_of(part.resource)), part.reference) for part in still_open]
    is_few = parts is not None and len(names) <= _MOST_NAMED
    named = " and ".join(names) if is_few else "more than can be named here"
    text = (
        f"The order is {state}, and parts of it are open: {named}. They go on until who placed them cancels them, or "
        "they are done."
    )
    return Reply(issues=(Issue("informational", text, severity="warning"),))


def wholes(part: Kept, records: Records) -> Iterator[Kept]:
    """What an order is part of, as it is kept."""
    for reference in dicts(part.resource.get("partOf")):
        kind, _, resource_id = str(reference.get("reference")).partition("/")
        try:
            yield records.get(kind, resource_id)
        except KeyError:
            continue


def _check_whole(path: str, whole: Kept | None, kept: Kept | None, records: Records) -> list[Issue]:
    if whole is None or whole.resource_type != "Task":
        text = "The order that this is part of is not known here. Send it first, in a new-order of its own."
        return [Issue("not-found", text, path)]
    machine, state = records.policy.order, records.policy.order.state_of(whole.resource)
    if request_code(whole.resource) is not None:
        text = "A Task that asks something of a party has no parts. Name the Task of the order in partOf."
        return [Issue("business-rule", text, path)]
    if not records.roles(whole) & {Role.PLACER, Role.FULFILLER}:
        text = "A part of an order is made by the order's fulfiller or its placer, and you are neither."
        return [Issue("forbidden", text, path)]
    if machine.is_final(state):
        text = f"The order that this would be part of is {state}, which is final. Leave partOf out."
        return [Issue("business-rule", text, path)]
    if kept is not None and _is_inside(whole, kept, records):
        text = "The order that this would be part of is itself a part of this one, or this one. Leave partOf out."
        return [Issue("business-rule", text, path)]
    return []


def _is_inside(part: Kept, whole: Kept, records: Records) -> bool:
    """Whether one order is another, or a part of it, or of a part of it. Raises Refused where parts are too deep."""
    seen, ahead = {part.id}, [part]
    while ahead:
        one = ahead.pop()
        if one.id == whole.id:
            return True
        found = [above for above in wholes(one, records) if above.id not in seen]
        seen |= {above.id for above in found}
        ahead += found
        if len(seen) > _DEEPEST:
            raise Refused(Issue("too-costly", f"Parts of orders can be nested {_DEEPEST} deep.", "Task.partOf"))
    return False


def _parts(whole: Kept, records: Records) -> list[Kept] | None:
    """The parts of an order; None when they are too many to look at."""
    try:
        found = records.find_by("Task", "part-of", whole.reference)
    except Refused:
        return None
    return [part for part in found if request_code(part.resource) is None]


def _raised(whole: Kept, before: Kept | None, part: Kept, records: Records, now: str) -> Kept | None:
    """The whole with its part's outputs; None when it has ended otherwise than by being done, or has them already."""
    machine = records.policy.order
    if machine.is_final(machine.state_of(whole.resource)) and status_of(whole.resource) != COMPLETED:
        return None
    had = carried(before.resource, "output", before.reference)[0] if before else []
    has, contained = carried(part.resource, "output", part.reference)
    own = dicts(whole.resource.get("output"))
    outputs = raised(own, has, _taken_back(values_gone(had, has), whole, part, records))
    if outputs == own:
        return None
    if len(outputs) > max(MOST, len(own)):
        text = f"The order that this is part of would have {len(outputs)} outputs, and {MOST} is the most."
        raise Refused(Issue("too-costly", text, "Task.output"))
    plain = {name: value for name, value in whole.resource.items() if name != "text"} | {"output": outputs}
    return records.update(whole, dated(with_contained(plain, dicts(plain.get("contained")), contained), now))


def _taken_back(values: list[Resource], whole: Kept, part: Kept, records: Records) -> list[Resource]:
    """Those of a part's former values that no other part of the whole gives."""
    others = _parts(whole, records) if values else None
    if others is None:
        return []
    given = [dicts(other.resource.get("output")) for other in others if other.id != part.id]
    return [value for value in values if not any(value in outputs for outputs in given)]
