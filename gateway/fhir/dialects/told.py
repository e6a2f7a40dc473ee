"""What a message of ours tells a partner, taken apart for its dialect: the order, what is asked, who is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.fhir.dialects import composing
from gateway.fhir.dialects.matching import text
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries, Entry
from gateway.fhir.task.elements import dicts, focuses_of, name_of, request_code, status_of


@dataclass(frozen=True, slots=True)
class Told:
    """A message that tells of a change. `order` is the Task of an order, `request` the one that asks something about it
    (to cancel it), where the message is about that; `to_fulfiller` is whether the order's owner is told, and not its
    placer.
    """

    bundle: Resource
    header: Resource
    entries: Entries
    order: Entry | None
    request: Entry | None
    to_fulfiller: bool

    @property
    def event(self) -> str | None:
        """Our event: one of `composing.EVENTS`."""
        return composing.our_event(self.header)

    @property
    def asked(self) -> str | None:
        """What is asked for by a request that waits for its answer: "abort", "change" and so on."""
        task = self.request.resource if self.request else {}
        return request_code(task) if status_of(task) in ("requested", "received") else None

    def requests(self, *types: str) -> list[Entry]:
        """What the order is about: what its focuses lead to, of these types."""
        return [entry for entry in self._focuses() if entry.resource.get("resourceType") in types]

    def of_type(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.resource.get("resourceType") == kind]

    def about_order(self, kind: str, element: str) -> list[Entry]:
        """What refers to the order by one of its elements: a Communication that is `partOf` it."""
        return [entry for entry in self.of_type(kind) if self._refers(entry, element)]

    def outputs(self, kind: str) -> list[Entry]:
        """What the order has come to, of this type, in its order."""
        if self.order is None:
            return []
        said = [output.get("valueReference") for output in dicts(self.order.resource.get("output"))]
        found = [self.resolve(reference, self.order) for reference in said]
        return [entry for entry in found if entry is not None and entry.resource.get("resourceType") == kind]

    def resolve(self, reference: Any, source: Entry) -> Entry | None:
        literal = reference.get("reference") if isinstance(reference, dict) else None
        return self.entries.resolve(literal, source) if isinstance(literal, str) else None

    def _focuses(self) -> Iterator[Entry]:
        for reference in focuses_of(self.order.resource) if self.order else ():
            if self.order and (entry := self.resolve(reference, self.order)):
                yield entry

    def _refers(self, entry: Entry, element: str) -> bool:
        said = entry.resource.get(element)
        references = dicts(said if isinstance(said, list) else [said])
        return self.order is not None and any(self.resolve(one, entry) is self.order for one in references)


def take_apart(bundle: Resource) -> Told:
    """What a message says that `gateway.fhir.forwarding` has composed."""
    entries = Entries(bundle)
    first = next(iter(entries))
    header = first.resource
    found = [_resolve(entries, reference, first) for reference in dicts(header.get("focus"))]
    tasks = [entry for entry in found if entry is not None and entry.resource.get("resourceType") == "Task"]
    orders = [entry for entry in tasks if request_code(entry.resource) is None]
    requests = [entry for entry in tasks if request_code(entry.resource) is not None]
    order, request = next(iter(orders), None), next(iter(requests), None)
    if request is not None:
        about = _resolve(entries, request.resource.get("focus"), request)
        order = about if about is not None and about.resource.get("resourceType") == "Task" else order
    return Told(bundle, header, entries, order, request, _is_fulfiller(entries, header, order))


def retold(
    told: Told,
    event: Resource,
    focus: Sequence[tuple[str, Resource]],
    *,
    without: Sequence[str] = ("Task",),
    others: Sequence[tuple[str, Resource]] = (),
    **elements: Any,
) -> Resource:
    """The message with another event, about `focus`: resources, each after its fullUrl; and with `others`.

    What it had of the types `without` is left out, and what is there anew; `elements` are further ones of its header.
    """
    kept_out = {url for url, _ in (*focus, *others)}
    plain = {
        name: value for name, value in told.header.items() if name not in ("eventCoding", "eventUri", "focus", "reason")
    }
    header = composing.inserted(plain, event) | {"focus": [{"reference": url} for url, _ in focus]} | elements
    first, *rest = dicts(told.bundle["entry"])
    left = [item for item in rest if text(item.get("fullUrl")) not in kept_out and _kind(item) not in (None, *without)]
    made = [{"fullUrl": url, "resource": resource} for url, resource in (*focus, *others)]
    return told.bundle | {"entry": [first | {"resource": header}, *made, *left]}


def _kind(item: Resource) -> Any:
    resource = item.get("resource")
    return resource.get("resourceType") if isinstance(resource, dict) else None


def url_of(entry: Entry) -> str:
    return entry.full_url or ""


def _resolve(entries: Entries, reference: Any, source: Entry) -> Entry | None:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return entries.resolve(literal, source) if isinstance(literal, str) else None


def _is_fulfiller(entries: Entries, header: Resource, order: Entry | None) -> bool:
    """Whether who receives the message is the order's owner; where nobody can tell, it is, unless it is the placer."""
    receiver = next((one.get("receiver") for one in dicts(header.get("destination"))), None)
    told = _names(entries, receiver, next(iter(entries)))
    if order is None:
        return False
    if told & _names(entries, order.resource.get("owner"), order):
        return True
    return not told & _names(entries, order.resource.get("requester"), order)


def _names(entries: Entries, reference: Any, source: Entry, *, is_role: bool = False) -> set[tuple[str, str]]:
    """What a party is known by, of a PractitionerRole that of its organization too."""
    given = reference if isinstance(reference, dict) else {}
    entry = _resolve(entries, given, source)
    identifiers = dicts([given.get("identifier"), *dicts(entry.resource.get("identifier") if entry else None)])
    found = {name for one in identifiers if text((name := name_of(one))[1])}
    if is_role or entry is None or entry.resource.get("resourceType") != "PractitionerRole":
        return found
    return found | _names(entries, entry.resource.get("organization"), entry, is_role=True)
