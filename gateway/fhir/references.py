"""References between resources: finding them, resolving them inside a Bundle, and rewriting them.

The rules are those of https://hl7.org/fhir/R4/bundle.html#references, with the concessions that real senders need
(see `Entries.resolve`). Nothing here raises on odd input: what cannot be understood does not resolve.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.errors import Issue

Resource = dict[str, Any]

_VERSION = re.compile(r"/_history/([A-Za-z0-9.\-]{1,64})$")
_RESTFUL = re.compile(r"(https?://.+)/[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}$")
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[^/?#]+$")
_CASELESS = ("urn:uuid:", "urn:oid:")

_Where = tuple["_Where", str, int | None] | None
"""The place of an element: that of the object it is in, its name there, and which one it is of several."""
Found = tuple[_Where, dict[str, Any]]
"""A Reference and its place in its resource."""

_REFERENCE_ELEMENTS = frozenset(
    {"reference", "type", "identifier", "display", "id", "extension", "_reference", "_type", "_display"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One resource of a Bundle: its FHIRPath ("Bundle.entry[2].resource"), its fullUrl and its content."""

    path: str
    full_url: str | None
    resource: Resource


class Entries:
    """The entries of a Bundle that have a resource, in their order, and what References among them mean."""

    def __init__(self, bundle: Resource) -> None:
        self._entries = tuple(_read(bundle))
        self._literal: dict[Entry, list[Found]] = {}
        self._resolved: dict[tuple[str, Entry], Entry | None] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def literals(self, entry: Entry) -> list[str]:
        """The `reference` of each Reference in the entry's resource that has one."""
        return [reference["reference"] for _, reference in self.literal_references(entry)]

    def literal_references(self, entry: Entry) -> list[Found]:
        """The References in the entry's resource that have a `reference`, looked for once."""
        if entry not in self._literal:
            found = _find_references(entry.resource)
            self._literal[entry] = [(where, item) for where, item in found if type(item.get("reference")) is str]
        return self._literal[entry]

    def rewritten(self, entry: Entry, new: Callable[[str], str | None]) -> Resource:
        """As `rewrite` of the entry's resource, to be read only: it shares with that what has not to be replaced."""
        changes = [(where, new(item["reference"])) for where, item in self.literal_references(entry)]
        return _replaced(entry.resource, changes)

    def resolve(self, reference: str, source: Entry) -> Entry | None:
        """The entry that `reference`, written in `source`, means; None when there is none, or no single one.

        An absolute reference (http, urn) is an entry's fullUrl; a relative one is completed with the base of the
        source's fullUrl if that is RESTful. Beyond the specification, a relative reference which finds nothing in
        this way means the one entry that has it as its fullUrl, else the one entry of this type and id, and a bare
        id means the entry whose fullUrl is the urn:uuid of it.
        Versions (`/_history/1`) only choose between entries of the same fullUrl.
        """
        written = reference, source
        if written not in self._resolved:
            self._resolved[written] = self._find(reference, source)
        return self._resolved[written]

    def _find(self, reference: str, source: Entry) -> Entry | None:
        address, version = _without_version(reference)
        if not _RELATIVE.match(address):
            key = _key(address)
            return _one(self._by_url.get(key) or self._by_url.get(f"urn:uuid:{key.lower()}"), version)
        return (
            self._in_the_sources_server(address, version, source)
            or _one(self._by_url.get(address), version)
            or _one(self._by_type_and_id.get(address), version)
        )

    def _in_the_sources_server(self, address: str, version: str | None, source: Entry) -> Entry | None:
        server = _RESTFUL.match(source.full_url) if source.full_url else None
        return _one(self._by_url.get(f"{server.group(1)}/{address}"), version) if server else None

    @cached_property
    def _by_url(self) -> dict[str, list[Entry]]:
        index: dict[str, list[Entry]] = {}
        for entry in self._entries:
            if entry.full_url:
                index.setdefault(_key(_without_version(entry.full_url)[0]), []).append(entry)
        return index

    @cached_property
    def _by_type_and_id(self) -> dict[str, list[Entry]]:
        index: dict[str, list[Entry]] = {}
        for entry in self._entries:
            address = f"{entry.resource.get('resourceType')}/{entry.resource.get('id')}"
            index.setdefault(address, []).append(entry)
        return index


def references_in(resource: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Reference in a resource, its contained ones included, each with its FHIRPath relative to the resource.

    A Reference is an object with a string `reference`, or one with nothing but an `identifier` in its stead;
    paths are like "focus" and "output[0].valueReference". A Bundle has none: what its entries say is meant among them.
    """
    return ((_path(where), reference) for where, reference in _find_references(resource))


def unresolved_references(entries: Entries, is_known: Callable[[Resource, Entry], bool]) -> list[Issue]:
    """A warning for each reference that ought to mean an entry of the Bundle, but means none.

    Not so for a web address, which the receiver may read where it points to, nor for what `is_known` otherwise.
    """
    issues = []
    for entry in entries:
        kind = entry.resource.get("resourceType")
        for where, reference in entries.literal_references(entry) if kind != "MessageHeader" else ():
            literal = reference["reference"]
            if literal.startswith(("#", "http://", "https://")) or entries.resolve(literal, entry) is not None:
                continue
            if not is_known(reference, entry):
                path = _path(where)
                text = f"{kind}.{path} refers to {literal}, which is not in the Bundle: its receiver cannot read it."
                issues.append(Issue("not-found", text, f"{entry.path}.{path}", "warning"))
    return issues


def rewrite(resource: Resource, new: Callable[[str], str | None]) -> Resource:
    """A deep copy in which each `reference` is replaced by what `new` gives for it; None leaves it as it is.

    A Bundle, also one inside another resource, is copied as it is.
    """
    return _rewritten(resource, new)


def _read(bundle: Resource) -> Iterator[Entry]:
    listed = bundle.get("entry")
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        resource = item.get("resource") if isinstance(item, dict) else None
        if isinstance(resource, dict):
            full_url = item.get("fullUrl")
            yield Entry(
                f"Bundle.entry[{index}].resource",
                full_url.strip() if isinstance(full_url, str) else None,
                resource,
            )


def _find_references(resource: Resource) -> list[Found]:
    found: list[Found] = []
    _collect(resource, None, found)
    return found


def _collect(value: dict[str, Any], where: _Where, found: list[Found]) -> None:
    if "resourceType" in value and value["resourceType"] == "Bundle":
        return
    if ("reference" in value or "identifier" in value) and _is_reference(value):
        found.append((where, value))
    for name, child in value.items():
        kind = type(child)
        if kind is dict:
            _collect(child, (where, name, None), found)
        elif kind is list:
            for index, item in enumerate(child):
                if type(item) is dict:
                    _collect(item, (where, name, index), found)


def _path(where: _Where) -> str:
    steps: list[str] = []
    while where is not None:
        where, name, index = where
        steps.append(name if index is None else f"{name}[{index}]")
    return ".".join(reversed(steps))


def _is_reference(value: dict[str, Any]) -> bool:
    """Told from the other elements that have a `reference` (Expression, DetectedIssue) or `identifier` by the rest."""
    return (
        (type(value.get("reference")) is str or type(value.get("identifier")) is dict)
        and value.keys() <= _REFERENCE_ELEMENTS
        and type(value.get("type", "")) is str
    )


def _rewritten(value: dict[str, Any], new: Callable[[str], str | None]) -> dict[str, Any]:
    if "resourceType" in value and value["resourceType"] == "Bundle":
        new = _unchanged
    copy = value.copy()
    for name, child in value.items():
        kind = type(child)
        if kind is dict:
            copy[name] = _rewritten(child, new)
        elif kind is list:
            copy[name] = _rewritten_list(child, new)
    if "reference" in value and type(value["reference"]) is str and _is_reference(value):
        replacement = new(value["reference"])
        if replacement is not None:
            copy["reference"] = replacement
    return copy


def _rewritten_list(items: list[Any], new: Callable[[str], str | None]) -> list[Any]:
    copy = items.copy()
    for index, item in enumerate(items):
        kind = type(item)
        if kind is dict:
            copy[index] = _rewritten(item, new)
        elif kind is list:
            copy[index] = _rewritten_list(item, new)
    return copy


def _replaced(resource: Resource, changes: list[tuple[_Where, str | None]]) -> Resource:
    """A copy of all that a change is in: each gives the Reference at its place another `reference`, or None."""
    copies: dict[_Where, dict[str, Any]] = {None: resource.copy()}

    def copied(where: _Where) -> dict[str, Any]:
        if where is not None and where not in copies:
            parent, name, index = where
            above = copied(parent)
            if index is None:
                above[name] = copies[where] = above[name].copy()
            else:
                items = above[name] = above[name].copy()
                items[index] = copies[where] = items[index].copy()
        return copies[where]

    for where, text in changes:
        if text is not None:
            copied(where)["reference"] = text
    return copies[None]


def _unchanged(reference: str) -> None:
    """Gives no replacement for any reference."""


def _one(entries: list[Entry] | None, version: str | None) -> Entry | None:
    if not entries:
        return None
    if len(entries) == 1:
        return entries[0]
    of_version = [entry for entry in entries if version is not None and _version_of(entry) == version]
    return of_version[0] if len(of_version) == 1 else None


def _version_of(entry: Entry) -> Any:
    meta = entry.resource.get("meta")
    return meta.get("versionId") if isinstance(meta, dict) else None


def _without_version(address: str) -> tuple[str, str | None]:
    address = address.strip()
    version = _VERSION.search(address) if "/_history/" in address else None
    return (address[: version.start()], version.group(1)) if version else (address, None)


def _key(address: str) -> str:
    return address.lower() if address[:9].lower().startswith(_CASELESS) else address
