"""What may still become of a Task that is settled (no draft any more), or has ended."""

from __future__ import annotations

from typing import Any

from gateway.errors import Issue
from gateway.fhir.policy.model import Machine, Role, Roles
from gateway.fhir.task.checks import IMMUTABLE, Same, is_open_to
from gateway.fhir.task.elements import dicts, focuses_of, is_focus, names_of
from gateway.fhir.task.lists import lost

Resource = dict[str, Any]

COMPLETED = "completed"
_ALWAYS = {"id", "meta", "text", "contained", "identifier", "lastModified", "note"}
_ONCE_COMPLETED = _ALWAYS | {"output", "businessStatus"}


def check_ended(kept: Resource, changed: Resource, path: str, machine: Machine) -> list[Issue]:
    """What a message changes of a Task that has ended and stays so: notes may come, to a completed one outputs too."""
    state = machine.state_of(kept)
    if not machine.is_final(state) or machine.state_of(changed) != state:
        return []
    is_completed = kept.get("status") == COMPLETED
    may = _ONCE_COMPLETED if is_completed else _ALWAYS
    names = {name.removeprefix("_") for name in kept.keys() | changed.keys()}
    wrong = [name for name in sorted(names - may) if _differ(kept, changed, name)]
    wrong += [name for name in ("note", "output") if name in may and lost(kept, changed, name)]
    left = "outputs (an amended report), a businessStatus and notes" if is_completed else "notes"
    return [
        Issue(
            "business-rule",
            f"The order is {state}, which is final: only {left} may still be added to it, and the message changes "
            f"Task.{name}. Leave the element out or send it as it was; for anything else send a new-order with a new "
            "Task.identifier.",
            f"{path}.{name}",
        )
        for name in wrong
    ]


def check_focuses(
    kept: Resource, sent: Resource, path: str, same: Same, machine: Machine, roles: Roles | None = None
) -> list[Issue]:
    """What a message changes of the further focuses of a Task, which are as immutable as its first."""
    further = [extension for extension in dicts(sent.get("extension")) if is_focus(extension)]
    if is_open_to(roles, machine.state_of(kept), machine) or not further:
        return []
    known, named = focuses_of(kept), focuses_of({"extension": further})
    if all(any(old == new or same(old, new) for old in known) for new in named) and len(named) >= len(known) - 1:
        return []
    text = (
        f"What an order is about cannot change any more: it has {len(known)} focuses, and the message names others. "
        "Leave the extensions for them out or send them as they were; for another order send a new-order with a new "
        "Task.identifier."
    )
    return [Issue("business-rule", text, f"{path}.extension")]


def check_left_out(
    kept: Resource, sent: Resource, path: str, machine: Machine, roles: Roles | None = None
) -> list[Issue]:
    """What a Task that replaces the kept one leaves out though it cannot go."""
    is_open = is_open_to(roles, machine.state_of(kept), machine)
    gone = [] if is_open else [name for name in IMMUTABLE if name in kept and name not in sent]
    issues = [
        Issue("required", f"Task.{name} cannot be removed from an order any more. Send it as it was.", f"{path}.{name}")
        for name in gone
    ]
    named = set(names_of(sent))
    lost = ["|".join(filter(None, name)) for name in names_of(kept) if name not in named]
    if lost:
        text = f"The identifier {' and '.join(lost)} of the order cannot be removed: the other party knows it by that."
        issues.append(Issue("required", text, f"{path}.identifier"))
    return issues


def check_new_identifiers(kept: Resource, sent: Resource, path: str, roles: Roles) -> list[Issue]:
    """Identifiers that a party gives an order in a system of the order's creator: numbers that it may yet give others.

    A party gives it one of its own system.
    """
    known = names_of(kept)
    systems = {system for system, _ in known if system}
    new = [name for name in names_of(sent) if name not in known and name[0] in systems]
    if Role.CREATOR in roles or not new:
        return []
    text = (
        f"The order has an identifier of the system {new[0][0]} already, and only who created the order gives it "
        "another of that. Give it one of a system of your own, or leave the identifier out."
    )
    return [Issue("forbidden", text, f"{path}.identifier")]


def _differ(kept: Resource, changed: Resource, name: str) -> bool:
    return any(kept.get(member) != changed.get(member) for member in (name, f"_{name}"))
