"""What a change, a replacement, a suspension or a resumption comes to, and what it makes of a Request.

https://hl7.org/fhir/uv/cow, "Cancelling and modifying requests"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.fhir.task.elements import dicts, names_of
from gateway.fhir.task.outcomes import Coded, Meaning, Resource

MODIFICATION_OUTCOME_SYSTEM = "urn:x-fhir-gateway:modification-outcome"
INPUT_SYSTEM = "urn:x-fhir-gateway:task-input"
CHANGED = "changed"
"""The type of the input that names the Request which a proposed one is a changed copy of."""


class ModificationOutcome(Coded, system=MODIFICATION_OUTCOME_SYSTEM):
    """What became of a modification: the codes of `urn:x-fhir-gateway:modification-outcome`."""

    APPLIED = "applied"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    NOT_POSSIBLE = "not-possible"
    ALREADY_ENDED = "already-ended"
    ALREADY_PENDING = "already-pending"
    NOT_A_PARTY = "not-a-party"
    NO_SUCH_ORDER = "no-such-order"
    NO_SUCH_REQUEST = "no-such-request"

    @property
    def answer(self) -> str:
        """What it means, in a sentence for who asked."""
        return MODIFICATIONS[self].answer


MODIFICATIONS = {
    ModificationOutcome.APPLIED: Meaning(
        "Done at once",
        "What was asked for needs no answer of the other party, and is done.",
        "The other party need not agree: it is done.",
    ),
    ModificationOutcome.PENDING: Meaning(
        "Pending with the other party",
        "The request is kept and waits for the answer of the party asked; the order goes on as it is until then.",
        "The other party decides: the request is kept and waits for its answer, and the order goes on as it is until "
        "then.",
    ),
    ModificationOutcome.ACCEPTED: Meaning(
        "Accepted",
        "The party asked has accepted, and it is done; a fulfiller's proposal to replace the order is then placed by "
        "the placer.",
        "The request is accepted, and done.",
    ),
    ModificationOutcome.REJECTED: Meaning(
        "Rejected by the other party",
        "The party asked has rejected the request, for the reason in its statusReason; the order goes on as it is.",
        "The request is rejected: the order goes on as it is.",
    ),
    ModificationOutcome.WITHDRAWN: Meaning(
        "Withdrawn",
        "Who asked has withdrawn the request, or entered it in error; the order goes on as it is.",
        "The request is withdrawn: the order goes on as it is.",
    ),
    ModificationOutcome.NOT_POSSIBLE: Meaning(
        "Not possible",
        "The order cannot be modified so: because of its status, by the policy in force, or because the request does "
        "not say what is to be done.",
        "The order cannot be modified so.",
    ),
    ModificationOutcome.ALREADY_ENDED: Meaning(
        "The order has ended",
        "The order had ended before: completed, cancelled, rejected, failed or entered in error.",
        "The order has ended: nothing of it can change any more.",
    ),
    ModificationOutcome.ALREADY_PENDING: Meaning(
        "Another such request is open",
        "Another request with the same code about the same order waits for its answer.",
        "Another such request about this order is open.",
    ),
    ModificationOutcome.NOT_A_PARTY: Meaning(
        "Not between the parties of the order",
        "Who asks or answers, or is asked, is neither the placer nor the owner of the order.",
        "Only the parties of an order ask each other about it.",
    ),
    ModificationOutcome.NO_SUCH_ORDER: Meaning(
        "No such order",
        "No order is known by what the request names.",
        "There is no such order.",
    ),
    ModificationOutcome.NO_SUCH_REQUEST: Meaning(
        "No such request",
        "The message answers or withdraws a request that is not known.",
        "There is no such request.",
    ),
}


@dataclass(frozen=True, slots=True)
class Link:
    """Where a Request says which one it replaces, and the search parameter that finds it by that."""

    element: str
    parameter: str


LINKS = {
    "CommunicationRequest": Link("replaces", "replaces"),
    "DeviceRequest": Link("priorRequest", "prior-request"),
    "MedicationRequest": Link("priorPrescription", "replaces"),
    "RequestGroup": Link("replaces", "replaces"),
    "ServiceRequest": Link("replaces", "replaces"),
}
"""By type; the other Requests of R4 have no such element."""

_ENDED_AS = {"MedicationRequest": "cancelled", "SupplyRequest": "cancelled", "VisionPrescription": "cancelled"}
_GOES_ON = ("draft", "active", "on-hold", "suspended")
_HAS_ENDED = ("revoked", "cancelled", "stopped", "completed", "entered-in-error")


def replaced_references(request: Resource) -> Iterator[Resource]:
    """The References of a Request to those that it replaces."""
    link = LINKS.get(str(request.get("resourceType")))
    said = request.get(link.element) if link else None
    yield from [said] if isinstance(said, dict) else dicts(said)


def with_references(request: Resource, known: list[tuple[Resource, Resource]]) -> Resource:
    """A Request with References to what it replaces as they are known: pairs of one as it is, and as it is to be."""
    link = LINKS.get(str(request.get("resourceType")))
    said = request.get(link.element) if link else None
    if link is None or said is None:
        return request
    items = [next((new for old, new in known if old == item), item) for item in said] if isinstance(said, list) else []
    one = next((new for old, new in known if old == said), said)
    return request | {link.element: items if isinstance(said, list) else one}


def goes_on(request: Resource) -> bool:
    """Whether a Request still authorises something, or may come to."""
    return request.get("status") in _GOES_ON


def has_ended(request: Resource) -> bool:
    """Whether a Request authorises nothing any more; of one whose status is `unknown` nobody can tell."""
    return request.get("status") in _HAS_ENDED


def revoked(request: Resource) -> Resource:
    """A Request that authorises nothing any more: revoked, or what its type calls that."""
    kept = {name: value for name, value in request.items() if name not in ("text", "_status")}
    return kept | {"status": _ENDED_AS.get(str(request.get("resourceType")), "revoked")}


def as_proposal(changed: Resource, original: Resource) -> Resource:
    """A changed copy of a Request, as a resource of its own: without the original's names, and as a proposal."""
    known = set(names_of(original))
    own = [item for item in dicts(changed.get("identifier")) if not known & set(names_of({"identifier": [item]}))]
    result = {name: value for name, value in changed.items() if name not in ("identifier", "id", "meta")}
    return result | ({"identifier": own} if own else {}) | ({"intent": "proposal"} if "intent" in changed else {})


def taken_over(original: Resource, proposal: Resource) -> Resource:
    """A Request with the content of an accepted proposal; its identifiers, status and intent are its own."""
    named = set(names_of(original))
    added = [item for item in dicts(proposal.get("identifier")) if not named & set(names_of({"identifier": [item]}))]
    identifiers = [*dicts(original.get("identifier")), *added]
    own = ("resourceType", "id", "meta", "status", "_status", "intent", "_intent")
    kept = {name: original[name] for name in own if name in original}
    content = {name: value for name, value in proposal.items() if name not in (*own, "identifier")}
    return kept | content | ({"identifier": identifiers} if identifiers else {})


def changed_and_proposed(task: Resource) -> tuple[str, str] | None:
    """The references (`Type/id`) of the Request that a kept request is to change, and of the changed copy."""
    changed = proposed = None
    for item in dicts(task.get("input")):
        reference = item.get("valueReference")
        literal = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(literal, str):
            continue
        if _is_changed(item):
            changed = literal
        elif proposed is None:
            proposed = literal
    return (changed, proposed) if changed and proposed else None


def changed_input(reference: str) -> Resource:
    """The input that names the Request to be changed."""
    return {
        "type": {"coding": [{"system": INPUT_SYSTEM, "code": CHANGED}], "text": "The Request that is to be changed"},
        "valueReference": {"reference": reference},
    }


def _is_changed(item: Resource) -> bool:
    kind = item.get("type")
    codings = dicts(kind.get("coding")) if isinstance(kind, dict) else []
    return any((coding.get("system"), coding.get("code")) == (INPUT_SYSTEM, CHANGED) for coding in codings)
