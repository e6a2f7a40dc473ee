"""What of all that is kept a partner may see: what it has made, its Tasks, those it may take, and what it is told.

Its Tasks are those whose placer, fulfiller or creator it is. Who does not only place orders may take those that have no
owner yet. A search looks for it in the index, by the names that it is registered under; a read looks at the resource
itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property

from gateway.fhir.identity import identifier_key, key
from gateway.fhir.message import Event, Message
from gateway.fhir.policy.model import Policy, Role
from gateway.fhir.references import Entries
from gateway.fhir.search import creator_tokens, waiting_token
from gateway.fhir.task.elements import request_code, status_of
from gateway.kept import Kept, kept_of
from gateway.partners import Partner
from gateway.records import Records
from gateway.sharing import Sharing
from gateway.store import resources, searching
from gateway.store.database import Connection
from gateway.store.resources import Row
from gateway.terms import Terms

_OWN_ROLES = {Role.CREATOR, Role.PLACER, Role.FULFILLER}
_PARTIES = ("owner", "requester")
_KINDS = ("Organization", "Practitioner", "PractitionerRole", "Device", "HealthcareService", "CareTeam")
_REFERRING = ("focus", "based-on", "part-of", "output", "subject", "owner", "requester")
_MOST_TASKS = 100


class View:
    """What one partner may see, at one moment, on one connection."""

    def __init__(self, connection: Connection, partner: Partner, base_url: str, terms: Terms) -> None:
        now = datetime.now(UTC)
        asking = Message(
            {}, {}, Entries({}), Event(None, "read"), None, None, partner.sender, now, partner=partner.name
        )
        self._connection = connection
        self._partner = partner
        self._records = Records(asking, connection, now, base_url, terms)
        self._parties = self._records.parties
        self._sharing = Sharing(self._records, partner)
        self._policy = terms.policy

    def has(self, resource_type: str, resource_id: str) -> bool:
        """Whether there is such a resource that the partner may see."""
        row = resources.find(self._connection, resource_type, resource_id)
        return row is not None and self.has_row(row)

    def has_row(self, row: Row) -> bool:
        kept = kept_of(row)
        if kept.resource_type == "Task":
            return self._is_own(kept) or self._is_offered(kept)
        return self._is_own(kept) or self._is_told(kept)

    def owns(self, resource_type: str, resource_id: str) -> bool:
        """As `has`, but for what it sees only because it may take an order: who else has tried that is not told."""
        row = resources.find(self._connection, resource_type, resource_id)
        return row is not None and self._is_own(kept_of(row))

    def told_with(self, rows: Iterable[Row]) -> set[tuple[str, str]]:
        """The (type, id) of what is told with what the partner may see, of all that these refer to."""
        return {(kept.resource_type, kept.id) for kept in self._sharing.referred([kept_of(row) for row in rows])}

    @cached_property
    def _tokens(self) -> list[bytes]:
        return tokens(self._connection, "Task", self._partner, self._policy)

    @cached_property
    def _offered(self) -> frozenset[str]:
        return offered_to(self._partner, self._policy)

    def _is_own(self, kept: Kept) -> bool:
        """Whether it has made it, is a party of the Task, or of one that it came with."""
        if self._parties.is_partner(kept.sender, self._partner) or self._is_own_task(kept):
            return True
        return kept.resource_type != "Task" and any(map(self._is_own_task, self._records.came_with(kept)))

    def _is_offered(self, kept: Kept) -> bool:
        is_order = request_code(kept.resource) is None
        return is_order and status_of(kept.resource) in self._offered and Role.CANDIDATE in self._parties.roles(kept)

    def _is_own_task(self, kept: Kept) -> bool:
        return kept.resource_type == "Task" and not _OWN_ROLES.isdisjoint(self._parties.roles(kept))

    def _is_told(self, kept: Kept) -> bool:
        """Whether a Task that it sees refers to it, in a way that lets the partner see it: `gateway.sharing`."""
        digests = [key("Task", name, "at", kept.reference) for name in _REFERRING]
        found = searching.find_by_digests(self._connection, digests, _MOST_TASKS, self._tokens)
        seen = (task for task in map(kept_of, found) if self._is_own_task(task) or self._is_offered(task))
        return any(kept.id == told.id for task in seen for told in self._sharing.referred([task]))


def offered_to(partner: Partner, policy: Policy) -> frozenset[str]:
    """The statuses in which a partner may take orders that have no owner."""
    return policy.order.offered if partner.role != "placer" else frozenset()


def tokens(connection: Connection, resource_type: str, partner: Partner, policy: Policy) -> list[bytes]:
    """The search tokens of which each resource of a type has one that is found by a partner.

    Of Tasks those which it is named in as owner or requester, by an identifier or by what is kept under one, those
    which it may take, and those which it has created; of other types the last alone.
    """
    found = [*creator_tokens(resource_type, partner.names | {partner.address})]
    if resource_type != "Task":
        return found
    named = [name.partition("|") for name in partner.identifiers]
    keys = [
        digest
        for kind in _KINDS
        for system, _, value in named
        if (digest := identifier_key(kind, {"system": system, "value": value}, partner.sender))
    ]
    addresses = {f"{row.type}/{row.id}" for row in resources.find_by_keys(connection, keys).values()}
    found += [waiting_token(status) for status in sorted(offered_to(partner, policy))]
    found += [key("Task", element, "named", system, value) for element in _PARTIES for system, _, value in named]
    return found + [key("Task", element, "at", address) for element in _PARTIES for address in sorted(addresses)]
