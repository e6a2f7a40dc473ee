"""What each kind of modification needs and does: suspend, resume, change, replace.

`WAYS` has them by `Task.code`; `handlers/modification_request.py` asks and answers, and calls these.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway import Entry, Issue, Kept, Message, Records, Refused, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.task.elements import REQUESTS, dicts, focuses_of, status_of
from gateway.fhir.task.modification import (
    ModificationOutcome,
    as_proposal,
    changed_and_proposed,
    changed_input,
    taken_over,
)
from gateway.fhir.task.moving import moved
from handlers.rules import orders, requests
from handlers.rules.open_requests import named

_STATUS = {"suspend": "on-hold", "resume": "in-progress"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A modification of an order that a party asks for, or that the other party accepts.

    `entry` has the request's Task as it came in this message; `reason`: why it was asked for; `is_placers`: the order's
    placer has asked.
    """

    code: str
    entry: Entry
    order: Kept
    reason: Resource | None
    is_placers: bool
    message: Message
    records: Records

    @property
    def state(self) -> str:
        return self.records.policy.order.state_of(self.order.resource)

    @property
    def now(self) -> str:
        return instant(self.message.received_at)

    def may_become(self, status: str, state: str | None = None) -> bool:
        """Whether the order can become `status` from the state it is in (or another), by itself or on request."""
        machine, old = self.records.policy.order, state or self.state
        return status in machine.moves.get(old, {}) or status in machine.on_request.get(old, ())

    def may_make(self, status: str) -> bool:
        """Whether the sender could make that move itself."""
        machine = self.records.policy.order
        return bool(machine.who(self.state, status) & self.records.roles(self.order))

    def refused(self, text: str, element: str = "focus", code: str = "business-rule") -> Refused:
        outcome = ModificationOutcome.NOT_POSSIBLE.coding
        return Refused(Issue(code, text, f"{self.entry.path}.{element}", outcome=outcome))


@dataclass(frozen=True, slots=True)
class Way:
    """How one kind of modification goes.

    `look` says whether it needs no answer, and raises Refused when it cannot be asked for. `prepare` keeps what the
    request brings, and gives the request's Task with that; the last argument is what `look` has said. `apply` does what
    a request's Task, as it is kept, asks for: the Reply has the order first, then what else has changed.
    """

    look: Callable[[Wish], bool]
    prepare: Callable[[Wish, Resource, bool], Resource]
    apply: Callable[[Wish, Resource], Reply]


def look_at_status(wish: Wish) -> bool:
    """suspend, resume: by the moves of the policy in force."""
    wanted = _STATUS[wish.code]
    is_on_hold = status_of(wish.order.resource) == _STATUS["suspend"]
    if not wish.may_become(wanted) or is_on_hold != (wish.code == "resume"):
        machine = wish.records.policy.order
        held = [state for state in machine.states if state.partition("/")[0] == _STATUS["suspend"]]
        able = held if wish.code == "resume" else machine.states
        able = [state for state in able if wish.may_become(wanted, state)]
        text = (
            f"The order is {machine.named(wish.state)}, and nobody can {wish.code} it. That can be asked for when it "
            f"is {' or '.join(able) or 'never, by the policy in force'}."
        )
        raise wish.refused(text)
    return wish.may_make(wanted)


def bring_nothing(_wish: Wish, task: Resource, _is_at_once: bool) -> Resource:
    """suspend, resume: the request says it all."""
    return task


def set_status(wish: Wish, _request: Resource) -> Reply:
    """suspend, resume: the order has the other status; when it has come to that by itself, nothing changes."""
    wanted = _STATUS[wish.code]
    if status_of(wish.order.resource) == wanted:
        return Reply((wish.order,))
    look_at_status(wish)
    reason = wish.reason if wish.code == "suspend" else None
    changed = moved(wish.order.resource, wanted, reason, wish.now, wish.records.policy.order)
    order = wish.records.update(wish.order, changed)
    followed = orders.follow(wish.order, order, wish.message, wish.records)
    return Reply((order, *followed.focus), followed.issues)


def look_at_change(wish: Wish) -> bool:
    """change: at once when the placer asks and the fulfiller has not agreed to do the work yet."""
    proposal = _find_proposal(wish)
    original = _find_original(wish, proposal)
    if wish.is_placers and not wish.records.parties.has_sent(original.sender):
        text = (
            f"The Request {named(original)} was created by another party, and only that changes it. Ask it to: by a "
            "request about the order that you have from it."
        )
        raise wish.refused(text)
    machine = wish.records.policy.order
    may_decline = wish.state in machine.unsettled or "rejected" in machine.moves.get(wish.state, {})
    return wish.is_placers and may_decline


def bring_change(wish: Wish, task: Resource, _is_at_once: bool) -> Resource:
    """change: the changed copy is kept as a resource of its own, and stands in the request's input."""
    entry = _find_proposal(wish)
    original = _find_original(wish, entry)
    content = as_proposal(wish.records.localise(entry), original.resource)
    proposal = wish.records.keep_apart(entry, content)
    brought = dicts(wish.records.localise(wish.entry).get("input"))
    if not any(_reference_in(item) == proposal.reference for item in brought):
        given = {"type": {"text": "The changed Request"}, "valueReference": {"reference": proposal.reference}}
        brought = [given, *brought]
    return task | {"input": [*brought, changed_input(original.reference)]}


def take_over(wish: Wish, request: Resource) -> Reply:
    """change: the changed copy becomes the Request, in the name of who created that.

    The party that created it may send a version of its own with its acceptance: that is taken then.
    """
    references = changed_and_proposed(request)
    if references is None:
        raise wish.refused("The request is kept without the changed Request, so nothing can come of it. Ask again.")
    original, proposal = (wish.records.get(*_split(reference)) for reference in references)
    content = taken_over(original.resource, proposal.resource)
    if content == original.resource:
        return Reply((wish.order, original))
    if not wish.is_placers:
        if not wish.records.parties.has_sent(original.sender):
            text = (
                f"The Request {named(original)} was created by another party, and only that changes it. Ask it for "
                "this change first, by a request about the order that you have from it; then accept this one."
            )
            raise wish.refused(text, "status")
        if (own := _own_version(wish, original)) is not None:
            return Reply((wish.order, own))
    return Reply((wish.order, wish.records.update(original, content)))


def brought(wish: Wish, *types: str) -> Entry | None:
    """The first entry of the Bundle of one of these types that the request's input refers to."""
    for item in dicts(wish.entry.resource.get("input")):
        entry = _resolved(wish, item.get("valueReference"))
        if entry is not None and entry.resource.get("resourceType") in types:
            return entry
    return None


def find_brought_request(wish: Wish) -> Entry | None:
    """The Request that a request brings: in its input, or in its focus as a proposal."""
    entry = brought(wish, *REQUESTS)
    focused = _resolved(wish, wish.entry.resource.get("focus"))
    if entry is not None or focused is None or focused.resource.get("resourceType") not in REQUESTS:
        return entry
    return focused if focused.resource.get("intent") == "proposal" else None


def _resolved(wish: Wish, reference: object) -> Entry | None:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return wish.message.entries.resolve(literal, wish.entry) if isinstance(literal, str) else None


def _find_proposal(wish: Wish) -> Entry:
    entry = find_brought_request(wish)
    if entry is None:
        text = (
            "A change says what the Request is to be: put the changed Request into the Bundle, and refer to it in "
            "Task.input (valueReference)."
        )
        raise wish.refused(text, "input", "required")
    return entry


def _find_original(wish: Wish, proposal: Entry) -> Kept:
    """The Request of the order that a changed copy is to take the place of."""
    about = [requests.find(reference, wish.records) for reference in focuses_of(wish.order.resource)]
    known = wish.records.find(proposal)
    kind = proposal.resource["resourceType"]
    alike = [request for request in about if request is not None and request.resource_type == kind]
    same = [request for request in alike if known is not None and request.id == known.id]
    if len(same or alike) == 1:
        return (same or alike)[0]
    text = (
        f"The order has {len(alike)} Requests of the type {kind}, and the changed copy does not say which of them it "
        "is. Give it the identifier of the Request that it is to change; for another Request send a Task with the "
        "code replace."
    )
    raise wish.refused(text, "input")


def _own_version(wish: Wish, original: Kept) -> Kept | None:
    """What the Request's creator has sent of it with its acceptance, if that is another than what is kept."""
    entry = brought(wish, *REQUESTS)
    if entry is None or entry.resource.get("intent") == "proposal":
        return None
    known = wish.records.find(entry)
    if known is None or known.id != original.id:
        return None
    kept = wish.records.keep(entry)
    return kept if kept.version != original.version else None


def _reference_in(item: Resource) -> str | None:
    reference = item.get("valueReference")
    return reference.get("reference") if isinstance(reference, dict) else None


def _split(reference: str) -> tuple[str, str]:
    kind, _, resource_id = reference.partition("/")
    return kind, resource_id
