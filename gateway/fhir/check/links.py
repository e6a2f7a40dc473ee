"""What a resource says of others: the targets of its References, and the fullUrls of a Bundle's entries.

https://hl7.org/fhir/R4/references.html, https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.fhir.check.kinds import Member
from gateway.fhir.check.primitives import PRIMITIVES
from gateway.fhir.check.walk import Fault, Scope, Walk
from gateway.fhir.definitions import is_resource
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries, Entry

_ADDRESS = re.compile(
    r"(?:https?://[^?#]+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
"""The address of a resource on a server: its type and its id."""
_RESTFUL = re.compile(r"(https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_UUID = re.compile("urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_WEB = ("http://", "https://")
_COMPLETE = ("message", "document", "transaction", "collection")
"""The types of Bundles that have in them all that their entries refer to, or ought to."""
_WITH_FULL_URLS = ("message", "document", "collection", "searchset")
"""The types of Bundles whose entries need one; in the others the server gives new resources their address."""


class Links:
    """All that a walk came by and that refers to something. `entries` are those of the outermost Bundle."""

    def __init__(self, walk: Walk, entries: Entries | None = None) -> None:
        self._walk = walk
        self._scopes = {id(scope.resource): scope for _, scope in walk.resources}
        self._bundles = {
            id(scope.resource): _Bundle(scope, None if scope.outer else entries)
            for kind, scope in walk.resources
            if kind.name == "Bundle"
        }
        self._contained: dict[int, dict[str, Resource]] = {}

    def look(self) -> None:
        """At all References and fullUrls; their faults are noted in the walk. Raises TooManyFaultsError."""
        for each in self._bundles.values():
            for fault in each.full_urls():
                self._walk.note(fault)
        for reference, member, scope in self._walk.references:
            literal = reference.get("reference")
            if type(literal) is str and literal.startswith("#"):
                self._look_inside(scope, reference, literal, member)
            elif type(literal) is str:
                self._look_outside(scope, reference, literal, member)
            elif "type" in reference:
                self._look_at_type(scope, reference, reference["type"], member)

    def resolve(self, literal: str, source: Resource) -> Resource | None:
        """The resource that a reference, written in `source`, means; None if it is not at hand."""
        scope = self._scopes.get(id(source))
        if scope is None:
            return None
        if literal.startswith("#"):
            return self._contained_in(scope.root).get(literal[1:])
        bundle = self._bundle_of(scope)
        entry = bundle.find(literal, scope.number)[0] if bundle is not None else None
        return entry.resource if entry is not None else None

    def _bundle_of(self, scope: Scope) -> _Bundle | None:
        """The Bundle that a reference in this resource is resolved in: its own, if it is one itself."""
        return self._bundles.get(id(scope.resource)) or self._bundles.get(id(scope.bundle))

    def _look_inside(self, scope: Scope, reference: Resource, literal: str, member: Member) -> None:
        """At a reference to a contained resource, or from one to what contains it."""
        target = self._contained_in(scope.root).get(literal[1:])
        if target is None:
            self._walk.note(Fault("ref-1", scope, reference, "reference", about=literal))
        else:
            self._look_at_type(scope, reference, target.get("resourceType"), member)

    def _look_outside(self, scope: Scope, reference: Resource, literal: str, member: Member) -> None:
        bundle = self._bundle_of(scope)
        entry, is_address = bundle.find(literal, scope.number) if bundle is not None else (None, False)
        if entry is None:
            address = _ADDRESS.fullmatch(literal)
            self._look_at_type(scope, reference, address[1] if address else None, member)
            if bundle is not None and bundle.has_to_have(literal):
                self._walk.note(Fault("reference-unresolved", scope, reference, "reference", about=literal))
            return
        self._look_at_type(scope, reference, entry.resource.get("resourceType"), member)
        if not is_address:
            self._walk.note(Fault("reference-by-id", scope, reference, "reference", about=literal))

    def _look_at_type(self, scope: Scope, reference: Resource, kind: Any, member: Member) -> None:
        """At whether a reference may be to a resource of this type, if it is one, and says so itself."""
        targets, said = member.said.targets, reference.get("type")
        is_allowed = not targets or kind in targets
        if (is_allowed and said is None) or type(kind) is not str or not is_resource(kind, self._walk.version):
            return
        if not is_allowed:
            self._walk.note(Fault("reference-target", scope, reference, "reference", about=(kind, targets)))
        if type(said) is str and said != kind and is_resource(said, self._walk.version):
            self._walk.note(Fault("reference-target", scope, reference, "type", about=(kind, (said,))))

    def _contained_in(self, root: Resource) -> dict[str, Resource]:
        if id(root) not in self._contained:
            self._contained[id(root)] = _contained(root)
        return self._contained[id(root)]


class _Bundle:
    """The entries of a Bundle, also by their number."""

    def __init__(self, scope: Scope, entries: Entries | None) -> None:
        self._scope = scope
        self._entries = Entries(scope.resource) if entries is None else entries
        self._numbered = {entry.path: entry for entry in self._entries}
        self._itself = Entry("Bundle", None, scope.resource)
        self._bases: dict[int, str] = {}
        self._found: dict[tuple[str, str], tuple[Entry | None, bool]] = {}

    def has_to_have(self, literal: str) -> bool:
        """Whether what the reference means ought to be in it: no web address, nor what a server is to search for."""
        kind = self._scope.resource.get("type")
        return kind in _COMPLETE and not literal.startswith(_WEB) and not (kind == "transaction" and "?" in literal)

    def find(self, literal: str, number: int) -> tuple[Entry | None, bool]:
        """The entry that a reference, written in the entry of this number, means, and whether by the letter.

        What it means depends on the base of the entry's fullUrl alone, and most entries refer to the same few.
        """
        base = self._bases.get(number)
        if base is None:
            address = _RESTFUL.fullmatch(self._source(number).full_url or "")
            base = self._bases[number] = address[1] if address else ""
        known = self._found.get((base, literal))
        if known is None:
            entry = self._entries.resolve(literal, self._source(number))
            known = self._found[base, literal] = (entry, entry is None or _is_address(literal, base, entry))
        return known

    def _source(self, number: int) -> Entry:
        return self._numbered.get(f"Bundle.entry[{number}].resource", self._itself)

    def full_urls(self) -> Iterator[Fault]:
        bundle = self._scope.resource
        entries = bundle.get("entry")
        is_due = bundle.get("type") in _WITH_FULL_URLS
        for entry in entries if type(entries) is list else ():
            if type(entry) is dict and (fault := _fault_of_full_url(entry, is_due)):
                yield Fault("full-url", self._scope, entry, "fullUrl", about=fault)


def _is_outcome(entry: Resource) -> bool:
    """Whether it tells about a search, and is no result of it."""
    search = entry.get("search")
    return type(search) is dict and search.get("mode") == "outcome"


def _is_address(literal: str, base: str, entry: Entry) -> bool:
    """Whether the reference is absolute, or the fullUrl when completed by the base; or there is no good fullUrl."""
    if not literal[:1].isupper() or entry.full_url == base + literal.partition("/_history/")[0]:
        return True
    return entry.full_url is None or not _ABSOLUTE.fullmatch(entry.full_url)


def _fault_of_full_url(entry: Resource, is_due: bool) -> str:
    """Which one it is; empty if none."""
    full_url, resource = entry.get("fullUrl"), entry.get("resource")
    if full_url is None:
        return "missing" if is_due and type(resource) is dict and not _is_outcome(entry) else ""
    if type(full_url) is not str:
        return ""
    if not _ABSOLUTE.fullmatch(full_url):
        return "relative"
    if full_url[:8].lower() == "urn:uuid" and not _UUID.fullmatch(full_url):
        return "uuid"
    if full_url[:7].lower() == "urn:oid" and not PRIMITIVES["oid"].fits(full_url):
        return "oid"
    address = _ADDRESS.fullmatch(full_url) if full_url.startswith(_WEB) else None
    if address is None or type(resource) is not dict:
        return ""
    kind, known = resource.get("resourceType"), resource.get("id")
    if address[1] != kind:
        return "type" if is_resource(address[1]) else ""
    return "id" if known is not None and address[2] != known else ""


def _contained(root: Resource) -> dict[str, Resource]:
    contained = root.get("contained")
    found = {"": root}
    for resource in contained if type(contained) is list else ():
        if type(resource) is dict and type(resource.get("id")) is str:
            found[resource["id"]] = resource
    return found
