"""What is kept, by its search tokens: written together with them, and found by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from gateway.errors import Issue, Refused
from gateway.fhir.identity import OWN_SENDER, key
from gateway.fhir.policy.model import Policy
from gateway.fhir.search import SEARCHED, creator_tokens, terms_for, tokens_of, waiting_tokens
from gateway.fhir.task.deadlines import deadline_of
from gateway.kept import Kept, kept_of
from gateway.store import resources, search_keys, searching
from gateway.store.database import Connection
from gateway.store.resources import Row, Version

MOST = 500
"""So many resources a handler may find by one token."""

Changes = Iterable[tuple[Kept | None, Kept]]
"""Resources as they were, None for a new one, and as they are now."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a message has changed."""

    changes: Changes
    message_id: int
    policy: Policy
    now: datetime


def write(connection: Connection, changed: Iterable[Changed]) -> None:
    """Writes the new versions of several messages, with their tokens. Raises Conflict when another came first."""
    versions: list[Version] = []
    added: dict[int, Set[bytes]] = {}
    removed: dict[int, Set[bytes]] = {}
    for one in changed:
        for ordinal, (before, kept) in enumerate(one.changes):
            number = before.number if before else None
            number = resources.number_of(one.message_id, ordinal) if number is None else number
            due_at = deadline_of(kept.resource, one.policy, one.now) if kept.resource_type == "Task" else None
            row = Row(kept.id, kept.resource_type, kept.version, kept.sender, number, kept.content, due_at)
            versions.append(Version(row, one.message_id, one.now))
            old, new = _tokens(before), _tokens(kept)
            added[number], removed[number] = new - old, old - new
    resources.write(connection, versions)
    search_keys.change(connection, added, removed)


def digests_of(resource_type: str, parameter: str, value: str) -> list[bytes]:
    """The tokens of what a search parameter finds. Raises KeyError for a parameter that there is not."""
    return [key(resource_type, *term) for term in terms_for(resource_type, parameter, value)]


def find(
    connection: Connection,
    changes: Changes,
    resource_type: str,
    parameter: str,
    value: str,
    ahead: Mapping[bytes, Sequence[Row]] = MappingProxyType({}),
) -> list[Kept]:
    """The resources that a search parameter finds, as the changes leave them, what was created last first.

    `value` is `Type/id` for a reference, `system|value` for a code or an identifier; `ahead` has what was read before
    of what has one token. Raises Refused (too-costly) for
    very many, and KeyError for a parameter that there is not.
    """
    digests = digests_of(resource_type, parameter, value)
    known = ahead.get(digests[0]) if len(digests) == 1 else None
    rows = known if known is not None else searching.find_by_digests(connection, digests, MOST + 1)
    if len(rows) > MOST:
        text = f"More than {MOST} {resource_type}s have this {parameter}: too many for what the message asks for."
        raise Refused(Issue("too-costly", text))
    changed = {kept.id: kept for _, kept in changes}
    fresh = [kept for kept in changed.values() if not _tokens(kept).isdisjoint(digests)]
    return fresh[::-1] + [kept_of(row) for row in rows if row.id not in changed]


def _tokens(kept: Kept | None) -> Set[bytes]:
    """None for what the gateway keeps for itself."""
    if kept is None or kept.resource_type not in SEARCHED or kept.sender == OWN_SENDER:
        return frozenset()
    creators = creator_tokens(kept.resource_type, kept.sender.split(" ", 1))
    return tokens_of(kept.resource).union(creators, waiting_tokens(kept.resource))
