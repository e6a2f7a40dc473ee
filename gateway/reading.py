"""What is kept, read for one message by id and by identity: several resources with one query, each of them once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import Conflict
from gateway.fhir.identity import identifier_key
from gateway.fhir.references import references_in
from gateway.fhir.task.checks import IMMUTABLE
from gateway.fhir.task.elements import REQUESTS
from gateway.kept import Kept, kept_of
from gateway.store import resources, versions
from gateway.store.database import Connection
from gateway.store.resources import Row

_REFERENCE = re.compile(rb'"reference":"[A-Z][A-Za-z]{1,63}/([A-Za-z0-9\-.]{1,64})"')
"""A reference in the JSON that the gateway keeps, to what else it keeps; it cannot be within a text."""
_LOGICAL = b'"identifier":{'
_HERE = re.compile(r"#.*|[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
_NAMED_BY_IDENTIFIER = ("Task", *REQUESTS, "Patient", "Organization", "Practitioner", "PractitionerRole")
_OF_SEVERAL = ("Task", "Specimen")
"""What others than its creator may change, too."""


@dataclass(frozen=True, slots=True)
class ReliedOn:
    """What a message relies on: versions by id; the id and version of what has a key, None where nothing has it."""

    kept: Mapping[str, int]
    own: Mapping[bytes, tuple[str, int] | None]


def check(connection: Connection, relied_on: Sequence[ReliedOn]) -> None:
    """Raises Conflict when what messages rely on is no longer as it was.

    To be called once all is written: of two messages each of which writes what the other relies on, one waits for the
    other here, or was seen by it.
    """
    ids = sorted({resource_id for one in relied_on for resource_id in one.kept})
    versions = resources.hold_versions(connection, ids)
    if any(versions.get(resource_id) != version for one in relied_on for resource_id, version in one.kept.items()):
        raise Conflict("what a message relies on was changed by another transaction")
    found = resources.find_holders(connection, sorted({key for one in relied_on for key in one.own}))
    if any(found.get(key) != held for one in relied_on for key, held in one.own.items()):
        raise Conflict("what the gateway keeps for itself was changed by another transaction")


class Ahead:
    """What was read for several messages at once, before any of them has asked: by id and by key, None: nothing.

    And what has a search token, by that.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row | None] = {}
        self.by_key: dict[bytes, Row | None] = {}
        self.by_token: dict[bytes, list[Row]] = {}
        self._kept: dict[str, Kept] = {}

    def keep_rows(self, ids: Iterable[str], found: Iterable[Row]) -> None:
        self.rows |= dict.fromkeys(ids)
        self.rows |= {row.id: row for row in found}

    def keep_keys(self, keys: Iterable[bytes], found: Mapping[bytes, Row]) -> None:
        self.by_key |= dict.fromkeys(keys)
        self.by_key |= found
        self.rows |= {row.id: row for row in found.values()}

    def kept_of(self, row: Row) -> Kept:
        """What is in a row, the same each time: so its content is read once."""
        kept = self._kept.get(row.id)
        if kept is None or kept.version != row.version:
            kept = self._kept[row.id] = kept_of(row)
        return kept

    def all(self) -> list[Kept]:
        """All that was read, in that order."""
        return [self.kept_of(row) for row in self.rows.values() if row is not None]

    def known_by(self, keys: Iterable[bytes]) -> list[Kept]:
        """What was found under these keys."""
        return [self.kept_of(row) for key in keys if (row := self.by_key.get(key)) is not None]


class Reading:
    """The resources as they are in the database; what the message itself writes is not among them.

    What was read `ahead` is not read again.
    """

    def __init__(self, connection: Connection, ahead: Ahead) -> None:
        self._connection = connection
        self._rows_ahead, self._rows = ahead.rows, dict[str, Row | None]()
        self._by_key_ahead, self._by_key = ahead.by_key, dict[bytes, Row | None]()
        self._own: dict[bytes, Row | None] = {}
        self._relied_on: dict[str, int] = {}
        self.kept_of = ahead.kept_of

    def find(self, resource_type: str, resource_id: str) -> Row | None:
        if resource_id not in self._rows and resource_id not in self._rows_ahead:
            self._rows[resource_id] = resources.find(self._connection, resource_type, resource_id)
        row = self.get(resource_id)
        return row if row is not None and row.type == resource_type else None

    def find_own(self, key: bytes) -> Row | None:
        """What the gateway keeps for itself under a key; the message relies on its being so, or not being there."""
        if key not in self._own:
            self._own[key] = self.read_keys([key]).get(key)
        return self._own[key]

    def tasks_made_with(self, number: int) -> list[str]:
        """The ids of the Tasks that the message wrote which has made the resource with a number."""
        message_id = resources.message_of(number)
        made = versions.find_made(self._connection, [message_id]).get(message_id, [])
        return list(dict.fromkeys(resource_id for kind, resource_id, _ in made if kind == "Task"))

    def rely_on(self, kept: Kept) -> None:
        """The message may take effect only while this is the current version of what is kept."""
        self._relied_on.setdefault(kept.id, kept.version)

    def relied_on(self, written: Collection[str], keys: Collection[bytes]) -> ReliedOn:
        """What the message relies on, but for what it has `written` itself: given by ids, and by the `keys` of what is
        new."""
        kept = {id_: version for id_, version in self._relied_on.items() if id_ not in written}
        own = {key: row for key, row in self._own.items() if key not in keys and (not row or row.id not in written)}
        return ReliedOn(kept, {key: (row.id, row.version) if row else None for key, row in own.items()})

    def add(self, rows: Iterable[Row]) -> None:
        """What was read in another way."""
        self._rows.update((row.id, row) for row in rows)

    def get(self, resource_id: str) -> Row | None:
        """What was read before; None where there is no such resource."""
        return self._rows[resource_id] if resource_id in self._rows else self._rows_ahead.get(resource_id)

    def read(self, ids: Iterable[str]) -> None:
        """Reads those that were not read yet."""
        read, ahead = self._rows, self._rows_ahead
        wanted = sorted({resource_id for resource_id in ids if resource_id not in ahead and resource_id not in read})
        if wanted:
            found = {row.id: row for row in resources.find_by_ids(self._connection, wanted)}
            self._rows.update((resource_id, found.get(resource_id)) for resource_id in wanted)

    def read_keys(self, keys: Iterable[bytes]) -> dict[bytes, Row]:
        """What is known by these keys of identity; those that were not read yet are, with one query."""
        named = list(dict.fromkeys(keys))
        wanted = [key for key in named if key not in self._by_key and key not in self._by_key_ahead]
        if wanted:
            found = resources.find_by_keys(self._connection, wanted)
            self._by_key.update((key, found.get(key)) for key in wanted)
            self.add(found.values())
        found_by = ((key, self._by_key[key] if key in self._by_key else self._by_key_ahead[key]) for key in named)
        return {key: row for key, row in found_by if row is not None}


def ids_in(content: bytes) -> list[str]:
    """The ids of what a kept resource refers to, in their order."""
    return [found.decode() for found in _REFERENCE.findall(content)]


def named_by(reference: dict[str, Any], sender: str) -> list[bytes]:
    """The keys of what a Reference of a sender's may mean by its identifier; without a `type` it may be of several."""
    kinds = (reference["type"],) if isinstance(reference.get("type"), str) else _NAMED_BY_IDENTIFIER
    keys = (identifier_key(kind, reference.get("identifier"), sender) for kind in kinds)
    return [key for key in keys if key is not None]


def keys_in(kept: Kept) -> Iterator[bytes]:
    """The keys of what a kept resource refers to by an identifier, and by no reference to what is kept.

    An identifier without a system is followed where it is sure who wrote it: the resource's creator.
    """
    if _LOGICAL not in kept.content:
        return
    is_creators = kept.version == 1 or kept.resource_type not in _OF_SEVERAL
    for path, reference in references_in(kept.resource):
        identifier, literal = reference.get("identifier"), reference.get("reference", "")
        if not isinstance(identifier, dict) or _HERE.fullmatch(literal):
            continue
        if is_creators or identifier.get("system") or path.partition("[")[0] in IMMUTABLE:
            yield from named_by(reference, kept.sender)
