"""What a handler reads and writes: the resources the gateway keeps, seen from one message, inside one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from gateway import indexed
from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir.emptiness import without_empty, written_without_empty
from gateway.fhir.identity import OWN_SENDER, Keys, keys_of, own_address, own_key, reference_keys
from gateway.fhir.message import Message, Resource, instant
from gateway.fhir.policy.model import Roles
from gateway.fhir.references import Entry, references_in, rewrite
from gateway.fhir.task.elements import check_no_task
from gateway.foresight import Foreseen
from gateway.indexed import Changed
from gateway.kept import Kept, said_by
from gateway.made import Made
from gateway.parties import Meant, Parties
from gateway.partners import Names
from gateway.queued import Queue
from gateway.reading import Reading, ids_in, keys_in, named_by
from gateway.store import resources
from gateway.store.database import Connection
from gateway.store.resources import Row
from gateway.terms import Terms


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entry is kept, or will be; ambiguous when its keys name two resources."""

    id: str
    kept: Kept | None
    is_ambiguous: bool


class Records:
    """The kept resources, for one message. Writes are seen by later reads, and reach the database by `flush`."""

    def __init__(
        self,
        message: Message,
        connection: Connection,
        now: datetime,
        base_url: str,
        terms: Terms,
        foreseen: Foreseen | None = None,
    ) -> None:
        self.policy = terms.policy
        self.parties = Parties(message, terms.partners, self._mean)
        self.queue = Queue(connection, now)
        self._foreseen = foreseen or Foreseen(message)
        self._reading = Reading(connection, self._foreseen.ahead)
        self._message = message
        self._base_url = base_url
        self._connection = connection
        self._now = now
        self._instant = instant(now)
        self._keys: dict[str, Keys] = self._foreseen.keys
        self._places: dict[str, _Place] = {}
        self._new_ids: dict[bytes, str] = {}
        self._written: dict[str, Kept] = {}
        self._before: dict[str, Kept] = {}
        self._sources: dict[str, Entry] = {}
        self._identifiers: dict[bytes, str] = {}
        self._addresses: dict[bytes, str] = {}

    def find(self, entry: Entry) -> Kept | None:
        """What is kept at an entry's fullUrl, if that is our address, or under its identifiers; else at the sender's.

        Raises Refused (multiple-matches) when these name two resources.
        """
        place = self._place(entry)
        if place.is_ambiguous:
            kind = entry.resource["resourceType"]
            text = f"The identifiers of this {kind} belong to different {kind}s that are kept here. Send one of them."
            raise Refused(Issue("multiple-matches", text, f"{entry.path}.identifier"))
        return self._written.get(place.id, place.kept)

    def is_at_own_address(self, entry: Entry) -> bool:
        """Whether an entry's fullUrl is an address that the gateway itself gives its resources."""
        return own_address(entry.full_url or "", self._base_url) is not None

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
        rows = self._reading.read_keys(named_by(reference, self._message.sender))
        return next(map(self._current, rows.values()), None)

    def get(self, resource_type: str, resource_id: str) -> Kept:
        """Raises KeyError when there is none."""
        if resource_id in self._written:
            return self._written[resource_id]
        row = self._reading.find(resource_type, resource_id)
        if row is None:
            raise KeyError(f"{resource_type}/{resource_id}")
        return self._reading.kept_of(row)

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
                check_no_task(target)
                ahead += self._referred(target, self._keep_one(target, self._localised(target)))
        return kept

    @property
    def sender(self) -> Names:
        """What the sender of the message is known by. Raises Refused when it says that it is somebody else."""
        return self.parties.sender

    def party(self, task: Kept | Entry, element: str) -> Names:
        """What the party in an element of a Task (`requester`, `owner`) is known by; empty when nobody can tell."""
        self.read_ahead(task)
        return self.parties.party(task, element)

    def names_of(self, reference: Any, source: Entry | None = None) -> Names:
        """What the party that a Reference means is known by; without a `source` it is one that is kept."""
        return self.parties.names_of(reference, source)

    def roles(self, task: Kept | Entry) -> Roles:
        """What the sender is towards a Task, kept or about to be: see `gateway.fhir.policy.model.Role`."""
        self.read_ahead(task)
        return self.parties.roles(task)

    def find_own(self, resource_type: str, name: str) -> Kept | None:
        """What the gateway keeps for itself under a name, out of every sender's reach."""
        digest = own_key(resource_type, name)
        if digest in self._identifiers:
            return self._written[self._identifiers[digest]]
        row = self._reading.find_own(digest)
        return self._current(row) if row else None

    def rely_on(self, kept: Kept) -> None:
        """What the message does is kept only if this is still as it was, when it is kept; else it is done anew."""
        self._reading.rely_on(kept)

    def keep_own(self, name: str, resource: Resource) -> Kept:
        """Keeps a resource of the gateway itself under a name, by which alone it is found: see `find_own`."""
        kind = str(resource["resourceType"])
        known = self.find_own(kind, name)
        if known is not None:
            return self.update(known, resource)
        fresh = str(uuid.uuid4())
        self._identifiers[own_key(kind, name)] = fresh
        return self._write(kind, fresh, None, resource, OWN_SENDER)

    def keep_apart(self, entry: Entry, resource: Resource) -> Kept:
        """Keeps an entry as a new resource, not as what its identifiers or its address mean: a proposed change, say.

        In this message the entry means that from now on; no other finds it but by references to it.
        """
        self._keys[entry.path] = Keys([], None)
        self._places[entry.path] = _Place(str(uuid.uuid4()), None, False)
        return self.keep(entry, resource)

    def update(self, kept: Kept, resource: Resource) -> Kept:
        """Keeps new content of what is kept; the same content makes no new version."""
        before = self._written.get(kept.id, kept)
        return self._write(kept.resource_type, kept.id, before, resource)

    @property
    def changes(self) -> list[tuple[Kept | None, Kept]]:
        """What this message has written so far: each resource as it was, None if it is new, and as it is now."""
        return [(self._before.get(kept.id), kept) for kept in self._written.values()]

    def current(self, kept: Kept) -> Kept:
        """A kept resource with what this message has written of it."""
        return self._written.get(kept.id, kept)

    def as_created(self, kept: Kept) -> Resource:
        """A kept resource as its first version has it."""
        return json.parse_own(resources.find_as_created(self._connection, kept.id))

    def find_by(self, resource_type: str, parameter: str, value: str) -> list[Kept]:
        """What a search parameter finds, such as the Tasks whose `focus` is a Request: see `indexed.find`."""
        return indexed.find(
            self._connection, self.changes, resource_type, parameter, value, self._foreseen.ahead.by_token
        )

    def came_with(self, kept: Kept) -> list[Kept]:
        """The Tasks that the message wrote which brought something along that is kept, as they are now."""
        if kept.number is None:
            return [after for _, after in self.changes if after.resource_type == "Task"]
        return [self.get("Task", each) for each in self._reading.tasks_made_with(kept.number)]

    def has(self, reference: str) -> bool:
        """Whether a reference as it is kept (`Type/id`) means something that is kept."""
        kind, _, resource_id = reference.partition("/")
        return self._as_it_was(kind, resource_id) is not None

    def referred(self, found: Iterable[Kept]) -> list[Kept]:
        """What is kept of all that these refer to, by a reference, or by an identifier alone."""
        found = list(found)
        keys = [key for kept in found for key in keys_in(kept)]
        named = self._reading.read_keys(key for key in keys if key not in self._identifiers)
        by_identifier = [self._identifiers.get(key) or (named[key].id if key in named else None) for key in keys]
        ids = [resource_id for kept in found for resource_id in ids_in(kept.content)]
        ids = list(dict.fromkeys([*ids, *(resource_id for resource_id in by_identifier if resource_id)]))
        self._reading.read(resource_id for resource_id in ids if resource_id not in self._written)
        rows = ((resource_id, self._reading.get(resource_id)) for resource_id in ids)
        there = (
            self._written.get(resource_id) or (self._reading.kept_of(row) if row else None) for resource_id, row in rows
        )
        return [kept for kept in there if kept is not None]

    def addresses_of(self, keys: Iterable[bytes]) -> list[str]:
        """The `Type/id` of what is known by these keys of identity, of what the message makes too."""
        made = [self._written[id_].reference for key in keys if (id_ := self._identifiers.get(key)) in self._written]
        return made + [f"{row.type}/{row.id}" for row in self._reading.read_keys(keys).values()]

    def made(self, message_id: int) -> Made:
        """All that the message of this id has to be kept."""
        relied_on = self._reading.relied_on(self._written.keys(), self._identifiers.keys())
        changed = Changed(self.changes, message_id, self.policy, self._now)
        return Made(changed, self._identifiers, self._addresses, relied_on, self.queue)

    @cached_property
    def _known(self) -> dict[bytes, Row]:
        """All that is kept under any key that the message's entries have or refer to, read at once."""
        return self._reading.read_keys(self._foreseen.asked)

    def _keys_of(self, entry: Entry) -> Keys:
        if entry.path not in self._keys:
            self._keys[entry.path] = keys_of(entry, self._message.sender)
        return self._keys[entry.path]

    def _place(self, entry: Entry) -> _Place:
        if entry.path not in self._places:
            self._places[entry.path] = self._find_place(entry)
        return self._places[entry.path]

    def _find_place(self, entry: Entry) -> _Place:
        own = self._keys_of(entry)
        names = own.identifiers or ([own.address] if own.address else [])
        rows = [self._known[key] for key in names if key in self._known]
        if there := self._at_own_address(entry):
            rows = [there, *rows]
        if rows:
            return _Place(rows[0].id, self._reading.kept_of(rows[0]), len({row.id for row in rows}) > 1)
        fresh = next((self._new_ids[key] for key in names if key in self._new_ids), None) or str(uuid.uuid4())
        self._new_ids |= dict.fromkeys(names, fresh)
        return _Place(fresh, None, False)

    def _mean(self, literal: str, source: Entry | None) -> Meant | None:
        """What a literal reference means: as it is kept, for want of that as the message has it."""
        entry = self._message.entries.resolve(literal, source) if source is not None else None
        if entry is not None:
            place = self._place(entry)
            kept = place.kept or self._written.get(place.id)
            if kept is None or place.is_ambiguous:
                return Meant(entry.resource, None, entry)
            return Meant(kept.resource, kept.reference)
        row = self._known_as(literal, source) if source is not None else None
        kind, _, resource_id = literal.partition("/")
        kind, resource_id = own_address(literal, self._base_url) or (kind, resource_id)
        kept = self._reading.kept_of(row) if row else self._as_it_was(kind, resource_id)
        return Meant(kept.resource, kept.reference) if kept else None

    def _as_it_was(self, kind: str, resource_id: str) -> Kept | None:
        """What was kept before this message, and what it has made."""
        if known := self._before.get(resource_id) or self._written.get(resource_id):
            return known
        row = self._reading.find(kind, resource_id)
        return self._reading.kept_of(row) if row else None

    def read_ahead(self, *tasks: Kept | Entry) -> None:
        """Reads with one query what the kept ones among these Tasks refer to."""
        ids = (resource_id for task in tasks if isinstance(task, Kept) for resource_id in ids_in(task.content))
        self._reading.read(resource_id for resource_id in ids if resource_id not in self._written)

    def _current(self, row: Row) -> Kept:
        return self._written.get(row.id) or self._reading.kept_of(row)

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
        row = self._reading.find(*address) if address else None
        return self._current(row) if row else None

    def _at_own_address(self, entry: Entry) -> Row | None:
        """What is kept at an entry's fullUrl, where that is an address that the gateway gives its resources."""
        address = own_address(entry.full_url or "", self._base_url)
        row = self._reading.find(*address) if address and address[0] == entry.resource.get("resourceType") else None
        return row if row is not None and row.sender != OWN_SENDER else None

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
        if first is not entry and said_by(self._localised(first)) != said_by(self._localised(entry)):
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
        return kept is not None and (kept.resource_type == "Task" or not self.parties.may_change(kept, entry))

    def _keep_one(self, entry: Entry, resource: Resource) -> Kept:
        place, own = self._place(entry), self._keys_of(entry)
        self._sources.setdefault(place.id, entry)
        self._identifiers |= {key: place.id for key in own.identifiers if key not in self._known}
        if (address := own.address) and (address not in self._known or self._known[address].id != place.id):
            self._addresses[address] = place.id
        return self._write(str(entry.resource["resourceType"]), place.id, place.kept, resource)

    def _write(
        self, kind: str, resource_id: str, before: Kept | None, resource: Resource, creator: str | None = None
    ) -> Kept:
        if before is not None and json.serialize(resource) == before.content:
            return before
        if before is not None and before.said == said_by(without_empty(resource)):
            return before
        written_now = self._written.get(resource_id)
        if before is not None and written_now is None:
            self._before[resource_id] = before
        version = written_now.version if written_now else before.version + 1 if before else 1
        meta = {**(resource.get("meta") or {}), "versionId": str(version), "lastUpdated": self._instant}
        first = {"resourceType": kind, "id": resource_id, "meta": meta}
        content = first | resource | first
        sender = before.sender if before else creator or self._message.sender
        kept = Kept(kind, resource_id, version, sender, written_without_empty(content))
        self._written[resource_id] = kept
        return kept


def _is_task(entry: Entry) -> bool:
    return entry.resource.get("resourceType") == "Task"
