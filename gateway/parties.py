"""Who is who in a message: its sender, the parties of Tasks, and what the sender is towards each Task.

What a party is known by, and why a message cannot make its sender somebody else, is in docs/partners.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from gateway.errors import Issue, Refused
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.message import Message, Resource, is_uri
from gateway.fhir.policy.model import Role, Roles
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, names_of
from gateway.partners import Names, Partner, Partners

_ADDRESS = re.compile(r"(https?://\S+?)(?:/_history/[A-Za-z0-9\-.]{1,64})?")
# What a Task can have as its requester or owner, but for a Patient.
_PARTIES = (
    "CareTeam",
    "Device",
    "HealthcareService",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
)
_NOBODY: Names = frozenset()
_SENDER = "Bundle.entry[0].resource.sender"


@dataclass(frozen=True, slots=True)
class Meant:
    """What a literal reference means: a resource that is kept, as `Type/id`, or one that is in the message only."""

    resource: Resource
    kept_as: str | None = None
    entry: Entry | None = None


class KeptTask(Protocol):
    """A Task, or another resource, as it is kept, and who created it."""

    @property
    def resource(self) -> Resource: ...
    @property
    def sender(self) -> str: ...


Read = Callable[[str, Entry | None], Meant | None]
"""Reads a literal reference as it is written in an entry of the message; in what is kept, for want of an entry."""


class Parties:
    """The parties, as one message shows them."""

    def __init__(self, message: Message, partners: Partners, read: Read) -> None:
        self._message = message
        self._partners = partners
        self._read = read

    @cached_property
    def sender(self) -> Names:
        """What the sender of the message is known by. Raises as `check_sender`."""
        self.check_sender()
        if self._proven is not None:
            return self._proven.names
        endpoint = self._message.source_endpoint or ""
        return self._partners.recognise(self._claimed | ({endpoint} if _is_name(endpoint) else set()))

    def check_sender(self) -> None:
        """Raises Refused (forbidden) when the sender says that it is a partner whose messages come from elsewhere.

        Who has proved to be a partner is that partner: `gateway.authentication` has seen to what its message says.
        """
        if self._proven is not None:
            return
        endpoint = self._message.source_endpoint or ""
        owner = self._partners.find({endpoint})
        others = self._partners.all(self._claimed) - ({owner} if owner else set())
        is_ours = endpoint.startswith(OWN_SYSTEMS)
        if len(others) > 1 or (others and owner) or (not is_ours and any(other.endpoints for other in others)):
            raise Refused(_not_its_endpoint(sorted(other.name for other in others), endpoint))

    @property
    def named_as_sender(self) -> frozenset[Partner]:
        """The partners that the message says it is from: by its source endpoint, or by MessageHeader.sender."""
        return self._partners.all(self._claimed | {self._message.source_endpoint or ""})

    @cached_property
    def sending_partner(self) -> Partner | None:
        """The partner that sent the message; None when it was somebody else. Raises as `sender`."""
        return self._proven or self._partners.find(self.sender)

    @cached_property
    def _proven(self) -> Partner | None:
        """The partner that has proved to be the sender; one that is no longer registered has proved nothing."""
        return self._partners.called(self._message.partner) if self._message.partner else None

    @property
    def sender_reference(self) -> Resource | None:
        """The sender as another resource can refer to it, by its identifier; None when it has none with a system."""
        partner = self.sending_partner
        if partner is not None and partner.identifiers:
            system, _, value = partner.identifiers[0].partition("|")
            return {"identifier": {"system": system, "value": value}, "display": partner.name}
        named = next((name for name in sorted(self.sender) if "|" in name), None)
        system, _, value = (named or "").partition("|")
        return {"identifier": {"system": system, "value": value}} if named and is_uri(system) else None

    def party(self, task: KeptTask | Entry, element: str) -> Names:
        """What the party in an element of a Task (`requester`, `owner`) is known by; empty when nobody can tell."""
        source = task if isinstance(task, Entry) else None
        return self._partners.recognise(self._names(task.resource.get(element), task.resource, source))

    def names_of(self, reference: Any, source: Entry | None) -> Names:
        """As `party`, for any Reference in an entry of the message; in what is kept, for want of a `source`."""
        return self._partners.recognise(self._names(reference, source.resource if source else {}, source))

    def may_change(self, kept: KeptTask, entry: Entry) -> bool:
        """Whether what is kept is the sender's own, and if it is a party, the same one as the message has it.

        Who has been named in a Task is not made another party by a change of what the name refers to.
        """
        return self.has_sent(kept.sender) and self._is_same_party(kept.resource, entry)

    def partner(self, task: KeptTask | Entry, element: str) -> Partner | None:
        """The partner in an element of a Task; None when it is somebody else, or nobody."""
        return self._partners.find(self.party(task, element))

    def partners(self, task: KeptTask) -> frozenset[Partner]:
        """The partners that are placer or fulfiller of a kept Task, by the rule of `roles`."""
        owner, requester = self.partner(task, "owner"), self.partner(task, "requester")
        placer = requester or self._partner_of(task.sender)
        return frozenset(partner for partner in (owner, placer) if partner is not None)

    def names_nobody(self, task: KeptTask | Entry, element: str) -> bool:
        """Whether an element of a Task (`requester`, `owner`) says who, but nobody can be recognised by it."""
        return bool(task.resource.get(element)) and not self.party(task, element)

    def roles(self, task: KeptTask | Entry) -> Roles:
        """What the sender is towards a Task, kept or about to be: see `gateway.fhir.policy.model.Role`.

        Its creator is its placer (a hospital's message may name one of its doctors), but not where it is its fulfiller
        or has made it for another partner.
        """
        owner, requester = self.party(task, "owner"), self.party(task, "requester")
        found = set()
        if isinstance(task, Entry) or self.has_sent(task.sender):
            found.add(Role.CREATOR)
        if owner & self.sender:
            found.add(Role.FULFILLER)
        if requester & self.sender or (
            Role.CREATOR in found and Role.FULFILLER not in found and self._partners.find(requester) is None
        ):
            found.add(Role.PLACER)
        if not task.resource.get("owner") and Role.PLACER not in found:
            found.add(Role.CANDIDATE)
        return frozenset(found)

    def has_sent(self, sender: str) -> bool:
        """Whether `Message.sender` of an earlier message means the sender of this one."""
        if sender == self._message.sender:
            return True
        partner = self._partner_of(sender)
        return partner is not None and partner == self.sending_partner

    def is_one_sender(self, one: str, other: str) -> bool:
        """Whether `Message.sender` of two earlier messages means one party."""
        partner = self._partner_of(one)
        return one == other or (partner is not None and partner == self._partner_of(other))

    def is_party(self, sender: str, task: KeptTask | Entry, element: str) -> bool:
        """Whether `Message.sender` of an earlier message means the party in an element of a Task."""
        return bool(self.names_of_sender(sender) & self.party(task, element))

    def names_of_sender(self, sender: str) -> Names:
        """What `Message.sender` of an earlier message is known by."""
        endpoint, _, party = sender.partition(" ")
        return self._partners.recognise(frozenset({endpoint, party} - {""}))

    def is_partner(self, sender: str, partner: Partner) -> bool:
        """Whether `Message.sender` of an earlier message means a partner."""
        return self._partner_of(sender) == partner

    def _is_same_party(self, kept: Resource, entry: Entry) -> bool:
        if kept.get("resourceType") not in _PARTIES:
            return True
        before = self._names_of(kept, kept, None, is_role=False)
        after = self._names_of(entry.resource, entry.resource, entry, is_role=False)
        return self._partners.recognise(before) == self._partners.recognise(after)

    def _partner_of(self, sender: str) -> Partner | None:
        """The partner that `Message.sender` of an earlier message means."""
        endpoint, _, party = sender.partition(" ")
        return self._partners.find({endpoint}) or self._partners.find({party})

    @cached_property
    def _claimed(self) -> Names:
        header = next(iter(self._message.entries))
        return self._names(header.resource.get("sender"), header.resource, header)

    def _names(self, reference: Any, within: Resource, source: Entry | None, *, is_role: bool = False) -> Names:
        """What a Reference in a resource says that its party is known by; `source` is the entry that resource is in."""
        if not isinstance(reference, dict):
            return frozenset()
        named = _identifiers({"identifier": [reference["identifier"]]}) if "identifier" in reference else _NOBODY
        literal = reference.get("reference")
        if not isinstance(literal, str):
            return named
        if literal.startswith("#"):
            contained = (item for item in dicts(within.get("contained")) if item.get("id") == literal[1:])
            return named | self._names_of(next(contained, {}), within, source, is_role=is_role)
        meant = self._read(literal, source)
        if meant is None:
            address = _ADDRESS.fullmatch(literal)
            return named | ({address[1]} if address else set())
        kept_as = {meant.kept_as} if meant.kept_as else set()
        return named | kept_as | self._names_of(meant.resource, meant.resource, meant.entry, is_role=is_role)

    def _names_of(self, resource: Resource, within: Resource, source: Entry | None, *, is_role: bool) -> Names:
        """A PractitionerRole is known by its organization, for want of one by its practitioner."""
        named = _identifiers(resource)
        if is_role or resource.get("resourceType") != "PractitionerRole":
            return named
        organization = self._names(resource.get("organization"), within, source, is_role=True)
        return named | (organization or self._names(resource.get("practitioner"), within, source, is_role=True))


def _identifiers(resource: Resource) -> Names:
    """The business identifiers as "system|value"; one without a system is its sender's own, and known to nobody."""
    return frozenset(
        f"{system}|{value}" for system, value in names_of(resource) if system and not system.startswith(OWN_SYSTEMS)
    )


def _is_name(endpoint: str) -> bool:
    """Whether an endpoint can be told from a business identifier, and from what the gateway keeps."""
    return ":" in endpoint and "|" not in endpoint


def _not_its_endpoint(names: list[str], endpoint: str) -> Issue:
    text = (
        f"MessageHeader.sender is {' and '.join(names)}, whose messages do not come from the source endpoint "
        f"{endpoint or '(none)'}. Name yourself as the sender, or have this endpoint registered for the partner."
    )
    return Issue("forbidden", text, _SENDER)
