"""What a handler reads and writes: the resources the gateway keeps, seen from one message, inside one transaction."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir.emptiness import without_empty
from gateway.fhir.identity import (
    address_key,
    identifier_key,
    identifier_keys,
    own_address,
    own_key,
    reference_keys,
)
from gateway.fhir.message import Message, Resource, instant
from gateway.fhir.references import Entry, references_in, rewrite
from gateway.fhir.task import REQUESTS, identifiers_of
from gateway.store import resources
from gateway.store.database import Connection
from gateway.store.resources import Row

_NAMED_BY_IDENTIFIER = ("Task", *REQUESTS, "Patient", "Organization", "Practitioner", "PractitionerRole")


@dataclass(frozen=True)
class Kept:
    """A version of a resource that the gateway keeps. `sender` is who created the resource."""

    resource_type: str
    id: str
    version: int
    sender: str
    content: bytes

    @cached_property
    def resource(self) -> Resource:
        """The content, with `id`, `meta.versionId` and `meta.lastUpdated`. To be copied, not changed."""
        return json.parse_own(self.content)

    @property
    def reference(self) -> str:
        return f"{self.resource_type}/{self.id}"


@dataclass(frozen=True, slots=True)
class _Keys:
    """What an entry is known by: its business identifiers, and the sender's own address of it."""

    identifiers: list[bytes]
    address: bytes | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entry is kept, or will be; ambiguous when its keys name two resources."""

    id: str
    kept: Kept | None
    is_ambiguous: bool


class Records:
    """The kept resources, for one message. Writes are seen by later reads, and reach the database by `flush`."""

    def __init__(self, message: Message, connection: Connection, now: datetime, base_url: str) -> None:
        self._message = message
        self._base_url = base_url
        self._connection = connection
        self._now = now
        self._instant = instant(now)
        self._keys: dict[str, _Keys] = {}
        self._places: dict[str, _Place] = {}
        self._new_ids: dict[bytes, str] = {}
        self._written: dict[str, Kept] = {}
        self._sources: dict[str, Entry] = {}
        self._identifiers: dict[bytes, str] = {}
        self._addresses: dict[bytes, str] = {}

    def find(self, entry: Entry) -> Kept | None:
        """What is kept under the entry's business identifiers; without any, under the sender's own address of it.

        Raises Refused (multiple-matches) when its identifiers name two resources.
        """
        place = self._place(entry)
        if place.is_ambiguous:
            kind = entry.resource["resourceType"]
            text = (
                f"The identifiers of this {kind} belong to different {kind}s that this gateway keeps. Send one of them."
            )
            raise Refused(Issue("multiple-matches", text, f"{entry.path}.identifier"))
        return self._written.get(place.id, place.kept)

    def follow(self, reference: Resource, source: Entry) -> Kept | None:
        """The kept resource that a Reference means: by the Bundle, its identifier, or the sender's earlier message."""
        literal = reference.get("reference")
        if isinstance(literal, str):
            entry = self._message.entries.resolve(literal, source)
            if entry is not None and (found := self.find(entry)):
                return found
            is_named = entry is not None and bool(self._keys_of(entry).identifiers)
            if not is_named and (row := self._known_as(literal, source)):
                return self._current(row)
            if own := self._find_at_own_address(literal):
                return own
        kinds = (reference["type"],) if isinstance(reference.get("type"), str) else _NAMED_BY_IDENTIFIER
        named = (identifier_key(kind, reference.get("identifier"), self._message.sender) for kind in kinds)
        keys = [key for key in named if key is not None]
        rows = resources.find_by_keys(self._connection, keys) if keys else {}
        return next((self._current(rows[key]) for key in keys if key in rows), None)

    def get(self, resource_type: str, resource_id: str) -> Kept:
        """Raises KeyError when there is none."""
        if resource_id in self._written:
            return self._written[resource_id]
        row = resources.find(self._connection, resource_type, resource_id)
        if row is None:
            raise KeyError(f"{resource_type}/{resource_id}")
        return _kept(row)

    def localise(self, entry: Entry) -> Resource:
        """The entry's resource with its references as the gateway's own `Type/id`, wherever they are known."""
        return rewrite(entry.resource, lambda reference: self._local(reference, entry))

    def keep(self, entry: Entry, resource: Resource | None = None) -> Kept:
        """Keeps an entry (as `resource`, if given) and, as they are, the entries it refers to, and so on.

        What is as it was makes no new version. A Task that is kept already, and whatever another party created, are
        referred to and not touched: a Task has rules of its own, and a party's copy of another's Patient or Request may
        be old, or leave out what it does not need.

        Raises Refused when what is kept refers to a Task that is neither known nor kept before by this message (so
        keep the Task that others refer to first), and when two entries say different things of one resource.
        """
        self._is_kept_by_now(entry)
        kept = self._keep_one(entry, resource or self._localised(entry))
        seen, ahead = {entry.path}, self._referred(entry, kept)
        while ahead:
            target = ahead.pop()
            if target.path in seen:
                continue
            seen.add(target.path)
            if not (self._is_kept_by_now(target) or self._has_own_rules(target)):
                _check_no_task(target)
                ahead += self._referred(target, self._keep_one(target, self._localised(target)))
        return kept

    def find_own(self, resource_type: str, name: str) -> Kept | None:
        """What the gateway keeps for itself under a name, out of every sender's reach."""
        digest = own_key(resource_type, name)
        if digest in self._identifiers:
            return self._written[self._identifiers[digest]]
        row = resources.find_by_keys(self._connection, [digest]).get(digest)
        return self._current(row) if row else None

    def keep_own(self, name: str, resource: Resource) -> Kept:
        """Keeps a resource of the gateway itself under a name, by which alone it is found: see `find_own`."""
        kind = str(resource["resourceType"])
        known = self.find_own(kind, name)
        if known is not None:
            return self.update(known, resource)
        fresh = str(uuid.uuid4())
        self._identifiers[own_key(kind, name)] = fresh
        return self._write(kind, fresh, None, resource)

    def update(self, kept: Kept, resource: Resource) -> Kept:
        """Keeps new content of what is kept; the same content makes no new version."""
        before = self._written.get(kept.id, kept)
        return self._write(kept.resource_type, kept.id, before, resource)

    def flush(self, connection: Connection, message_id: int) -> None:
        """Writes what was kept. Raises Conflict when another transaction came first."""
        rows = [Row(k.id, k.resource_type, k.version, k.sender, k.content) for k in self._written.values()]
        resources.write(connection, rows, message_id, self._now)
        resources.add_identifiers(connection, self._identifiers)
        resources.set_addresses(connection, self._addresses)

    @cached_property
    def _known(self) -> dict[bytes, Row]:
        """All that is kept under any key that the message's entries have or refer to, read at once."""
        sender = self._message.sender
        keys: set[bytes] = set()
        for entry in self._message.entries:
            own = self._keys_of(entry)
            keys.update(own.identifiers)
            if own.address:
                keys.add(own.address)
            for literal in self._message.entries.literals(entry):
                keys.update(reference_keys(literal, entry, sender))
        return resources.find_by_keys(self._connection, sorted(keys))

    def _keys_of(self, entry: Entry) -> _Keys:
        if entry.path not in self._keys:
            sender = self._message.sender
            self._keys[entry.path] = _Keys(identifier_keys(entry, sender), address_key(entry, sender))
        return self._keys[entry.path]

    def _place(self, entry: Entry) -> _Place:
        if entry.path not in self._places:
            self._places[entry.path] = self._find_place(entry)
        return self._places[entry.path]

    def _find_place(self, entry: Entry) -> _Place:
        own = self._keys_of(entry)
        names = own.identifiers or ([own.address] if own.address else [])
        rows = [self._known[key] for key in names if key in self._known]
        if rows:
            return _Place(rows[0].id, _kept(rows[0]), len({row.id for row in rows}) > 1)
        fresh = next((self._new_ids[key] for key in names if key in self._new_ids), None) or str(uuid.uuid4())
        self._new_ids |= dict.fromkeys(names, fresh)
        return _Place(fresh, None, False)

    def _current(self, row: Row) -> Kept:
        return self._written.get(row.id) or _kept(row)

    def _local(self, reference: str, source: Entry) -> str | None:
        entry = self._message.entries.resolve(reference, source)
        if entry is not None:
            return f"{entry.resource.get('resourceType')}/{self._place(entry).id}"
        if row := self._known_as(reference, source):
            return f"{row.type}/{row.id}"
        own = self._find_at_own_address(reference)
        return own.reference if own else None

    def _known_as(self, reference: str, source: Entry) -> Row | None:
        """What an earlier message of the same sender was about, at the sender's own address."""
        keys = reference_keys(reference, source, self._message.sender)
        return next((self._known[key] for key in keys if key in self._known), None)

    def _find_at_own_address(self, reference: str) -> Kept | None:
        """What the gateway keeps at an address of its own, such as its replies have."""
        address = own_address(reference, self._base_url)
        row = resources.find(self._connection, *address) if address else None
        return self._current(row) if row else None

    def _referred(self, entry: Entry, kept: Kept) -> list[Entry]:
        """The entries that an entry refers to; without the Tasks that it does not refer to as it is kept."""
        found = [self._message.entries.resolve(text, entry) for text in self._message.entries.literals(entry)]
        targets = [target for target in found if target and target.resource.get("resourceType") != "MessageHeader"]
        tasks = {target: f"Task/{self._place(target).id}" for target in targets if _is_task(target)}
        if not tasks:
            return targets
        meant = {reference.get("reference") for _, reference in references_in(kept.resource)}
        return [target for target in targets if target not in tasks or tasks[target] in meant]

    def _is_kept_by_now(self, entry: Entry) -> bool:
        """Whether this message has kept the resource; raises Refused when another entry said something else of it."""
        first = self._sources.get(self._place(entry).id)
        if first is None:
            return False
        if first is not entry and _said(self._localised(first)) != _said(self._localised(entry)):
            kind = entry.resource["resourceType"]
            text = (
                f"{first.path} and {entry.path} have the identity of one {kind}, and say different things of it. Send "
                "one of them, or give each an identifier of its own."
            )
            raise Refused(Issue("business-rule", text, entry.path))
        return True

    def _localised(self, entry: Entry) -> Resource:
        """As `localise`, to be read only."""
        return self._message.entries.rewritten(entry, lambda reference: self._local(reference, entry))

    def _has_own_rules(self, entry: Entry) -> bool:
        kept = self._place(entry).kept
        return kept is not None and (kept.resource_type == "Task" or kept.sender != self._message.sender)

    def _keep_one(self, entry: Entry, resource: Resource) -> Kept:
        place, own = self._place(entry), self._keys_of(entry)
        self._sources.setdefault(place.id, entry)
        self._identifiers |= {key: place.id for key in own.identifiers if key not in self._known}
        address = own.address
        if address and (address not in self._known or self._known[address].id != place.id):
            self._addresses[address] = place.id
        return self._write(str(entry.resource["resourceType"]), place.id, place.kept, resource)

    def _write(self, kind: str, resource_id: str, before: Kept | None, resource: Resource) -> Kept:
        resource = without_empty(resource)
        if before is not None and _said(before.resource) == _said(resource):
            return before
        written_now = self._written.get(resource_id)
        version = written_now.version if written_now else before.version + 1 if before else 1
        meta = {**(resource.get("meta") or {}), "versionId": str(version), "lastUpdated": self._instant}
        first = {"resourceType": kind, "id": resource_id, "meta": meta}
        content = first | resource | first
        sender = before.sender if before else self._message.sender
        kept = Kept(kind, resource_id, version, sender, json.serialize(content))
        self._written[resource_id] = kept
        return kept


def _is_task(entry: Entry) -> bool:
    return entry.resource.get("resourceType") == "Task"


def _check_no_task(entry: Entry) -> None:
    """Raises Refused for a Task: it would be kept without the rules of any event."""
    if _is_task(entry):
        name = " or ".join(identifiers_of(entry.resource)) or entry.full_url or "without an identifier"
        text = f"The Task {name} is referred to but not known: send it in a new-order of its own first."
        raise Refused(Issue("business-rule", text, entry.path))


def _kept(row: Row) -> Kept:
    return Kept(row.type, row.id, row.version, row.sender, row.content)


def _said(resource: Resource) -> bytes:
    """What a resource says, without what the gateway adds to it."""
    meta: dict[str, Any] = resource.get("meta") or {}
    own = {name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")}
    said = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return json.canonical(said | {"meta": own} if own else said)
