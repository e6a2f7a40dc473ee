"""Whose message it is that has come, and how it is read: in the dialect of the partner that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.authentication.claims import hold_to
from gateway.authentication.model import Identity
from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir import dialects
from gateway.fhir.dialects import Manner
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.message import Message
from gateway.fhir.received import read_received
from gateway.fhir.references import Entry
from gateway.identities import REQUEST_ID
from gateway.parties import Meant, Parties
from gateway.partners import Partner, Partners
from gateway.store.inbox import Waiting

NOBODY = Identity(None, "none", frozenset())
_COW = dialects.COW.name


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came: the registered partner that it is taken to come from, if any; how it is read."""

    message: Message
    partner: Partner | None = None
    manner: Manner | None = None


def read_arrived(
    body: bytes, media_type: str, at: datetime, identity: Identity, headers: Mapping[str, str], partners: Partners
) -> Arrived:
    """The message in a body, as that of who has proved to be its sender, else of whom it says that it is.

    `headers` are those of HTTP, their names in lower case. Raises as `read_received`.
    """
    proven = identity.partner.sender if identity.partner else None
    message = _held(read_received(body, media_type, at, proven=proven), identity, partners)
    return _arrived(message, identity.partner or _recognised(message, partners), headers, partners)


def read_answer(body: bytes, media_type: str, at: datetime, called: str, partners: Partners) -> Arrived:
    """The message that came back from the partner of this name when it was called: its own, whatever it says.

    Raises as `read_received`.
    """
    partner = partners.called(called)
    sender = partner.sender if partner else called
    message = read_received(body, media_type, at, proven=sender)
    return _arrived(replace(message, partner=called, sender=sender), partner, {}, partners)


def read_kept(waiting: Waiting, partners: Partners) -> tuple[Message, Partner | None]:
    """The message as it was when it came, and the partner that it is taken to come from, as that is registered now."""
    proven = waiting.sender if waiting.partner else None
    message = read_received(waiting.body, waiting.media_type, waiting.received_at, waiting.wrapping, proven)
    if waiting.partner is None:
        partner = _recognised(message, partners)
    else:
        partner = partners.called(waiting.partner)
        message = _held(message, replace(NOBODY, partner=partner), partners)
        message = replace(message, partner=waiting.partner, sender=waiting.sender)
    return message if waiting.manner is None else _understood(message, Manner.read(waiting.manner)), partner


def refuse_our_name(message: Message) -> None:
    """What the gateway sends itself, and keeps for itself alone, goes by names that nobody else may have.

    Raises NotAMessage (forbidden).
    """
    endpoint = message.source_endpoint or ""
    party = "" if message.partner else message.sender.removeprefix(endpoint).lstrip()
    if any(name.startswith(OWN_SYSTEMS) for name in (endpoint, party)):
        text = f"Names that begin with {OWN_SYSTEMS} are the gateway's own. Send with your own endpoint and identifier."
        raise NotAMessage(Issue("forbidden", text, "Bundle.entry[0].resource.source.endpoint"))


def _arrived(message: Message, partner: Partner | None, headers: Mapping[str, str], partners: Partners) -> Arrived:
    """The message as it is understood in the dialect of the partner that it comes from."""
    if partner is None or partner.dialect == _COW:
        return Arrived(message, partner)
    manner = _manner(partner, headers, partners)
    return Arrived(_understood(message, manner), partner, manner)


def _held(message: Message, identity: Identity, partners: Partners) -> Message:
    """The message held to what is proved: with the refusal, or the warning, that comes of it."""
    partner = identity.partner
    if partner is None:
        return message
    try:
        held, warnings = hold_to(message, identity, partners)
    except Refused as refused:
        return replace(message, partner=partner.name, sender=partner.sender, refusal=refused.issues)
    return replace(held, lost=[*held.lost, *warnings]) if warnings else held


def _understood(message: Message, manner: Manner) -> Message:
    return message if message.refusal else dialects.get(manner.dialect).understand(message, manner)


def _recognised(message: Message, partners: Partners) -> Partner | None:
    """The partner that a message says it is from; None for anybody else, and for who says two things."""

    def mean(literal: str, source: Entry | None) -> Meant | None:
        entry = message.entries.resolve(literal, source) if source is not None else None
        return Meant(entry.resource, entry=entry) if entry is not None else None

    try:
        return Parties(message, partners, mean).sending_partner
    except Refused:
        return None


def _manner(partner: Partner, headers: Mapping[str, str], partners: Partners) -> Manner:
    dialect = dialects.get(partner.dialect)
    looked_at = (*dialect.headers, REQUEST_ID) if dialect.identity == "request-id" else dialect.headers
    fulfiller = partners.called(partner.fulfilled_by) if partner.fulfilled_by else None
    return Manner(
        partner.dialect,
        {name: headers[name] for name in looked_at if name in headers},
        partner.identifiers[0],
        fulfiller.identifiers[0] if fulfiller else None,
    )
