"""What a message says of its sender, held against who has proved to be: what is proved counts."""

from __future__ import annotations

from dataclasses import replace

from gateway.authentication.model import Identity
from gateway.errors import Issue, Refused
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.parties import Meant, Parties
from gateway.partners import Partners

_HEADER = "Bundle.entry[0].resource"


def hold_to(message: Message, identity: Identity, partners: Partners) -> tuple[Message, tuple[Issue, ...]]:
    """The message as that of the partner that has proved to be its sender; and a warning if it names another one.

    Raises Refused (forbidden) where the partner is to be refused then (`Authentication.mismatch`). Names that are no
    partner's are its own affair: a ward, a doctor.
    """
    partner = identity.partner
    if partner is None:
        return message, ()
    held = replace(message, partner=partner.name, sender=partner.sender)
    named = Parties(message, partners, lambda literal, source: _mean(message, literal, source)).named_as_sender
    others = sorted(other.name for other in named if other.name != partner.name)
    if not others:
        return held, ()
    issue = _mismatch(partner.name, others, partners, message.source_endpoint or "")
    if partner.authentication.mismatch == "refuse":
        raise Refused(issue)
    text = f"{issue.text.partition('. ')[0]}. It was taken as a message of {partner.name}."
    return held, (replace(issue, severity="warning", text=text),)


def _mean(message: Message, literal: str, source: Entry | None) -> Meant | None:
    entry = message.entries.resolve(literal, source) if source is not None else None
    return Meant(entry.resource, entry=entry) if entry is not None else None


def _mismatch(name: str, others: list[str], partners: Partners, endpoint: str) -> Issue:
    by_endpoint = partners.find([endpoint])
    at_endpoint = by_endpoint is not None and by_endpoint.name in others
    place = f"{_HEADER}.{'source.endpoint' if at_endpoint else 'sender'}"
    text = (
        f"The caller has proved to be {name}, but the message says that it is from {' and '.join(others)}. Send your "
        "own messages only, with your own endpoint and identifier."
    )
    return Issue("forbidden", text, place)
