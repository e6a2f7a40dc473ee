"""What comes with an order that is not its own to bring: specimens, and what refers to the order.

A specimen goes with the work: who has the order changes those that it got with it (the guide: "Ownership of Specimen
might be transferred to Filler"). What is about an order without it referring to that (a Communication that is part of
it, a Provenance) is kept with the order that it came with.
"""

from gateway import Entry, Kept, Message, Records
from gateway.fhir.emptiness import without_empty
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role
from gateway.fhir.references import references_in
from gateway.fhir.task.elements import dicts, focuses_of
from handlers.rules import parts, requests

_SPECIMEN = "Specimen"
_WITH_RULES = ("Task", "MessageHeader")


def keep_specimens(order: Kept, message: Message, records: Records) -> None:
    """Keeps what the owner of an order says of the specimens that it got with it, whoever created them.

    These are its inputs, and what its Requests name in `specimen`.
    """
    entries = [entry for entry in message.entries if entry.resource.get("resourceType") == _SPECIMEN]
    if not entries or Role.FULFILLER not in records.roles(order):
        return
    about = [request for one in focuses_of(order.resource) if (request := requests.find(one, records))]
    specimens = [specimen for request in about for specimen in dicts(request.resource.get("specimen"))]
    inputs = {"input": dicts(order.resource.get("input")), "specimen": specimens}
    given = {reference.get("reference") for _, reference in references_in(inputs)}
    for entry in entries:
        kept = records.find(entry)
        if (
            kept is not None
            and kept.reference in given
            and not records.parties.has_sent(kept.sender)
            and _is_of_placers(kept, order, records)
        ):
            records.keep(entry, _overlaid(kept.resource, without_empty(records.localise(entry))))


def keep_referring(entry: Entry, message: Message, records: Records) -> list[Kept]:
    """Keeps what else in the message refers to the order in its focus, and is new or the sender's own."""
    entries = message.entries
    referred = {target for text in entries.literals(entry) if (target := entries.resolve(text, entry))}
    found = []
    for other in entries:
        if other in referred or other.resource.get("resourceType") in _WITH_RULES:
            continue
        if all(entries.resolve(text, other) is not entry for text in entries.literals(other)):
            continue
        known = records.find(other)
        if known is None or records.parties.may_change(known, other):
            found.append(records.keep(other))
    return found


def _is_of_placers(specimen: Kept, order: Kept, records: Records) -> bool:
    """Whether who created a specimen placed the order, or one that it is part of: others' are not theirs to give."""
    seen, ahead = {order.id: order}, [order]
    while ahead:
        above = {whole.id: whole for whole in parts.wholes(ahead.pop(), records) if whole.id not in seen}
        seen |= above
        ahead += above.values()
    return any(records.parties.is_one_sender(specimen.sender, one.sender) for one in seen.values())


def _overlaid(kept: Resource, sent: Resource) -> Resource:
    """A specimen with what is said of it now; what is not mentioned stays, and identifiers are only added."""
    known = dicts(kept.get("identifier"))
    others = [identifier for identifier in dicts(sent.get("identifier")) if identifier not in known]
    return kept | sent | ({"identifier": [*known, *others]} if known or others else {})
