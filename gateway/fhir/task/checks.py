"""What keeps a Task from being created or changed as a party asks: every fault as an issue, none raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.errors import Issue
from gateway.fhir.policy.model import Machine, Role, Roles
from gateway.fhir.task.elements import CANCELLED, identifiers_of, name_of, names_of

Resource = dict[str, Any]
Same = Callable[[Resource, Resource], bool]

IMMUTABLE = ("intent", "requester", "for", "basedOn", "partOf", "focus")
_WIDEST_OFFSET = timedelta(hours=14)


def check_new(task: Resource, path: str, machine: Machine, roles: Roles) -> list[Issue]:
    """What keeps a Task from being a new one of a party with these roles. `path` is its FHIRPath in the Bundle."""
    issues = check_times(task, path)
    if not identifiers_of(task):
        text = (
            "Task.identifier is required: later messages about this order find it by its business identifier. Give "
            "the Task an identifier with a system and a value that you will repeat in each message about it."
        )
        issues.append(Issue("required", text, f"{path}.identifier"))
    state = machine.state_of(task)
    if state not in machine.initial:
        text = (
            f"A new Task cannot have the status {machine.named(state)}. Send it with one of: "
            f"{_listed(machine, machine.initial)}; what happens to it afterwards comes in further messages."
        )
        issues.append(Issue("business-rule" if state in machine.states else "value", text, f"{path}.status"))
    issues += _check_business_status({}, task, path, machine)
    return issues + check_maker(path, machine, roles)


def check_maker(path: str, machine: Machine, roles: Roles) -> list[Issue]:
    """What keeps a party with these roles towards a Task that it sends from having made it."""
    return [] if machine.create & roles else [_not_yours_to_make(path, machine, roles)]


def check_move(
    old: str, new: str, path: str, machine: Machine, roles: Roles | None = None, what: str = "order"
) -> list[Issue]:
    """What is wrong with a Task going from state `old` to `new` for a party with these roles (None: whoever it is).

    The same state again is no move. `what` the Task is, in the sentence for the sender.
    """
    if old == new:
        return []
    is_move = new in machine.moves.get(old, ())
    if is_move and (roles is None or machine.may(old, new, roles)):
        return []
    state, wanted = f"The {what} is {machine.named(old)}", machine.named(new)
    if roles is not None and not roles:
        who = f", and to {wanted} it is taken by {_named(machine.who(old, new))}" if is_move else ""
        return [Issue("forbidden", f"{state}{who}. {_NO_PARTY.format(what=what)}", f"{path}.status")]
    if is_move:
        yours = _join(map(machine.named, machine.allowed(old, roles)), "or")
        text = (
            f"{state}, and to {wanted} it is taken by {_named(machine.who(old, new))}; you are "
            f"{_named(roles or (), 'and')}. You can take it to: {yours}.{_instead(old, new, machine, what)}"
        )
        return [Issue("forbidden", text, f"{path}.status")]
    text = f"{state} and cannot become {wanted}. {_from(old, machine)} {_what_now(old, new, machine, roles)}"
    return [Issue("business-rule" if new in machine.states else "value", text, f"{path}.status")]


def check_fields(kept: Resource, merged: Resource, path: str, machine: Machine, roles: Roles) -> list[Issue]:
    """What a party with these roles changes of a kept Task that is not its own to change.

    Who is no party of the Task may change nothing, and is refused even when nothing has changed: the answer would
    tell of it. The parties that may make a Task may change all of it while it is unsettled.
    """
    state = machine.state_of(kept)
    if not roles:
        is_moved = machine.state_of(merged) != state  # for check_move to say
        return [] if is_moved else [Issue("forbidden", _NO_PARTY.format(what="order"), path)]
    issues = _check_business_status(kept, merged, path, machine)
    if is_open_to(roles, state, machine):
        return issues
    has = roles | {Role.FULFILLER} if Role.CANDIDATE in roles else roles
    return issues + [
        Issue(
            "forbidden",
            f"The order is {machine.named(state)}, and Task.{name} is changed by {_named(by)}; you are "
            f"{_named(roles, 'and')}. Leave the element out, or send it as it was; to have it changed, ask for it by a "
            "Task of its own, with the code change.",
            f"{path}.{name}",
        )
        for name, by in machine.fields.items()
        if not by & has and any(kept.get(each) != merged.get(each) for each in (name, f"_{name}"))
    ]


def check_version(kept_version: int, sent: Resource, is_our_address: bool, kept_id: str, path: str) -> list[Issue]:
    """Whether a message that names the gateway's own version of a resource names the current one.

    It does so with the resource at the gateway's own address, or under the gateway's id of it, and `meta.versionId`.
    What versions other systems have means nothing here. https://hl7.org/fhir/R4/http.html#concurrency
    """
    meta = sent.get("meta")
    named = meta.get("versionId") if isinstance(meta, dict) else None
    is_ours = is_our_address or sent.get("id") == kept_id
    if not is_ours or not isinstance(named, str) or named == str(kept_version):
        return []
    kept = f"{sent.get('resourceType', 'Task')}/{kept_id}"
    text = (
        f"This is about version {named} of {kept}, of which the gateway keeps version {kept_version}. Read "
        "that one, make the change to it, and send it with its version; or name none."
    )
    return [Issue("conflict", text, f"{path}.meta.versionId")]


def check_immutable(
    kept: Resource, sent: Resource, path: str, same: Same, machine: Machine, roles: Roles | None = None
) -> list[Issue]:
    """What a message changes of a Task that must not change. What it does not mention does not change.

    `same` says whether two References (the kept one, the sent one) mean the same resource. While the Task is unsettled
    the parties that may make one (`roles`; None: whoever it is) may change these too.
    """
    if is_open_to(roles, machine.state_of(kept), machine):
        return []
    issues = _check_identifiers(kept, sent, path)
    for name in IMMUTABLE:
        if name in sent and not _is_unchanged(kept.get(name), sent[name], same):
            text = (
                f"Task.{name} cannot change any more: the gateway keeps {_shown(kept.get(name))}, the message has "
                f"{_shown(sent[name])}. Leave the element out or send it as it was; for another order send a new-order "
                "with a new Task.identifier."
            )
            issues.append(Issue("business-rule", text, f"{path}.{name}"))
    return issues


def is_open_to(roles: Roles | None, state: str, machine: Machine) -> bool:
    """Whether parties with these roles (None: whoever it is) may change all of a Task in this state."""
    return state in machine.unsettled and (roles is None or bool(roles & machine.create))


def check_times(task: Resource, path: str) -> list[Issue]:
    """inv-1: lastModified is not before authoredOn, as far as their precision tells."""
    authored, modified = _span(task.get("authoredOn")), _span(task.get("lastModified"))
    if authored is None or modified is None or modified[1] >= authored[0]:
        return []
    text = (
        f"Task.lastModified ({task['lastModified']}) is before Task.authoredOn ({task['authoredOn']}), which FHIR "
        "forbids (inv-1). Correct one of them."
    )
    return [Issue("invariant", text, f"{path}.lastModified")]


def _check_business_status(kept: Resource, task: Resource, path: str, machine: Machine) -> list[Issue]:
    """A business status that the policy has for other statuses than the Task's, unless it is kept so."""
    code = machine.misfit(task)
    if code is None or (kept.get("status") == task["status"] and machine.misfit(kept) == code):
        return []
    status = str(task["status"])
    text = (
        f"The business status {code} does not go with the status {status}, which has "
        f"{_join(machine.fitting(status), 'or')}. Send both as they belong together, of the system "
        f"{machine.business_system}."
    )
    return [Issue("business-rule", text, f"{path}.businessStatus")]


def _not_yours_to_make(path: str, machine: Machine, roles: Roles) -> Issue:
    """A party that makes a Task is its placer, unless it is its fulfiller or has named another partner as requester."""
    who = f"An order is placed by {_named(machine.create)}"
    if Role.FULFILLER in roles:
        text = f"{who}; you are its fulfiller. Let its placer send it, or name another party, or none, as Task.owner."
        return Issue("forbidden", text, f"{path}.owner")
    text = (
        f"{who}, and its Task.requester is another party than you, which this gateway knows. Name yourself as the "
        "requester, or let that party send it."
    )
    return Issue("forbidden", text, f"{path}.requester")


def _what_now(old: str, new: str, machine: Machine, roles: Roles | None) -> str:
    if new in machine.on_request.get(old, ()):
        return _by_request(new, roles)
    if machine.is_final(old):
        final = f"The status {machine.named(old)} is final"
        return f"{final}: for anything further send a new Task, with an identifier of its own."
    if way := machine.way(old, new):
        steps = ", then ".join(map(machine.named, way))
        return f"To get to {machine.named(new)}, send one update after the other: {steps}."
    return "Send one of these, or leave the status as it is and change other elements."


def _by_request(new: str, roles: Roles | None) -> str:
    if new != CANCELLED:
        return f"It becomes {new} by an accepted request of the other party only."
    if roles is not None and Role.FULFILLER in roles and Role.PLACER not in roles:
        return (
            "It is cancelled by the placer's cancellation request only, which you accept or reject. Send one of these; "
            "or send a cancellation request to the placer, with the intent proposal and the order's Request in focus."
        )
    return (
        "Its fulfiller has to agree: send a cancellation request, which is a Task of its own with the code abort, the "
        "status requested and this order's Task in focus."
    )


def _instead(old: str, new: str, machine: Machine, what: str) -> str:
    """What else than the move there is for a party that may not make it."""
    if new in machine.on_request.get(old, ()):
        return f" {_by_request(new, None)}"
    if what != "order" or Role.FULFILLER not in machine.who(old, new):
        return ""
    return (
        " What you want of the fulfiller, ask for by a Task of its own, with the code abort, change, suspend or resume."
    )


def _from(old: str, machine: Machine) -> str:
    """Where a Task can go from a state, and who takes it there; the party with most to do first."""
    taken: dict[Roles, list[str]] = {}
    for new in machine.allowed(old):
        taken.setdefault(machine.who(old, new), []).append(machine.named(new))
    ways = [f"to {', '.join(states)} by {_named(by)}" for by, states in taken.items()]
    return f"From {machine.named(old)} it can go {'; '.join(ways) or 'nowhere'}."


def _listed(machine: Machine, states: Iterable[str]) -> str:
    among = {*states}
    return ", ".join(machine.named(state) for state in machine.states if state in among) or "nothing"


_NO_PARTY = (
    "You are no party of this {what}: neither its Task.requester nor its Task.owner is known by your identifier or "
    "endpoint. Send it as the party that is named there, with your identifier in MessageHeader.sender; or have the "
    "{what}'s placer name you."
)
_PARTIES = {
    Role.PLACER: "its placer",
    Role.FULFILLER: "its fulfiller",
    Role.CANDIDATE: "who may accept it",
    Role.CREATOR: "the party that created it",
}


def _named(roles: Iterable[Role], word: str = "or") -> str:
    has = {*roles}
    if word == "or" and has >= {Role.PLACER, Role.FULFILLER}:
        return "any party of it"
    if len(has) > 1:
        has -= {Role.CREATOR} if word == "and" else set()
    return _join((_PARTIES[role] for role in Role if role in has), word) if has else "no party of it"


def _join(words: Iterable[str], last: str) -> str:
    *first, final = [*words] or ["nothing"]
    return f"{', '.join(first)} {last} {final}" if first else final


def _check_identifiers(kept: Resource, sent: Resource, path: str) -> list[Issue]:
    """Identifiers that the message leaves out stay; one that has another value in the same system was changed."""
    known, named = names_of(kept), set(names_of(sent))
    new_in = {system: value for system, value in names_of(sent) if (system, value) not in known}
    return [
        Issue(
            "business-rule",
            f"The identifier {system}|{value} of the order cannot be replaced by {new_in[system]}. Send the known "
            "identifier too; others may be added to it.",
            f"{path}.identifier",
        )
        for system, value in known
        if (system, value) not in named and system in new_in
    ]


def _is_unchanged(kept: Any, sent: Any, same: Same) -> bool:
    if kept == sent:
        return True
    if isinstance(kept, dict) and isinstance(sent, dict):
        return same(kept, sent)
    if not isinstance(kept, list) or not isinstance(sent, list) or len(kept) != len(sent):
        return False
    pairs = [[_is_unchanged(old, new, same) for old in kept] for new in sent]
    return all(map(any, pairs)) and all(map(any, zip(*pairs, strict=True)))


def _shown(value: Any) -> str:
    """A value in a sentence: a code, or what a Reference says, or both of several."""
    if isinstance(value, list):
        return " and ".join(_shown(item) for item in value) or "nothing"
    if isinstance(value, dict):
        identifier = value.get("identifier")
        system, name = name_of(identifier) if isinstance(identifier, dict) else ("", "")
        return str(
            value.get("reference") or "|".join(filter(None, (system, name))) or value.get("display") or "(empty)"
        )
    return "nothing" if value is None else str(value)


def _span(value: Any) -> tuple[datetime, datetime] | None:
    """The earliest and the latest moment that a FHIR dateTime can mean; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        if "T" in value:
            moment = datetime.fromisoformat(value)
            return (moment, moment) if moment.tzinfo else None
        year, month, day = (int(part) for part in (value + "-01-01")[:10].split("-"))
        first = datetime(year, month, day, tzinfo=UTC)
        length = {4: 366, 7: 31}.get(len(value), 1)
        return first - _WIDEST_OFFSET, first + timedelta(days=length) + _WIDEST_OFFSET
    except (ValueError, OverflowError):
        return None
