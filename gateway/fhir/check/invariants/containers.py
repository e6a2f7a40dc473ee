"""The invariants of what resources are in: Bundle, Parameters, and any resource with others contained in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.fhir.check.invariants.rules import (
    ALL,
    R4,
    SINCE_R4,
    Context,
    Element,
    Holds,
    Rules,
    any_of,
    error,
    has,
    items,
    just_one,
    text,
    warning,
)

# --- Bundle: https://hl7.org/fhir/R4/bundle.html#invs ----------------------------------------------------------------

_REQUESTS = ("batch", "transaction", "history")
_RESPONSES = ("batch-response", "transaction-response", "history")


def _bdl_1(bundle: Element, _context: Context) -> bool:
    return not has(bundle, "total") or bundle.get("type") in ("searchset", "history")


def _bdl_2(bundle: Element, _context: Context) -> bool:
    return bundle.get("type") == "searchset" or not any("search" in entry for entry in items(bundle, "entry"))


def _just_for(name: str, types: tuple[str, ...]) -> Holds:
    """Every entry has a child of this name if the Bundle is of these types, and none has it if not."""

    def holds(bundle: Element, _context: Context) -> bool:
        if type(bundle.get("type")) is not str:
            return True
        is_due = bundle["type"] in types
        return all((name in entry) is is_due for entry in items(bundle, "entry"))

    return holds


def _bdl_7(bundle: Element, _context: Context) -> bool:
    if bundle.get("type") == "history":
        return True
    urls = [url for entry in items(bundle, "entry") if type(url := entry.get("fullUrl")) is str]
    return len(set(urls)) == len(urls) or _differ_in_version(bundle)


def _differ_in_version(bundle: Element) -> bool:
    seen = [url + _version(entry) for entry in items(bundle, "entry") if (url := text(entry, "fullUrl"))]
    return len(set(seen)) == len(seen)


def _version(entry: Element) -> str:
    metas = [meta for resource in items(entry, "resource") for meta in items(resource, "meta")]
    return "".join([text(meta, "versionId") or "" for meta in metas])


def _bdl_9(bundle: Element, _context: Context) -> bool:
    if bundle.get("type") != "document":
        return True
    identifier = bundle.get("identifier", {})
    return type(identifier) is not dict or (has(identifier, "system") and has(identifier, "value"))


def _bdl_10(bundle: Element, _context: Context) -> bool:
    return bundle.get("type") != "document" or "timestamp" in bundle


def _begins_with(bundle_type: str, resource_type: str) -> Holds:
    def holds(bundle: Element, _context: Context) -> bool:
        if bundle.get("type") != bundle_type:
            return True
        first = next(iter(items(bundle, "entry")), {}).get("resource", {})
        return type(first) is not dict or first.get("resourceType") == resource_type

    return holds


def _bdl_8(entry: Element, _context: Context) -> bool:
    url = entry.get("fullUrl")
    return type(url) is not str or "/_history/" not in url


# --- contained resources: https://hl7.org/fhir/R4/domainresource.html#invs -------------------------------------------


def _dom_2(resource: Element, _context: Context) -> bool:
    return "contained" not in resource or not any("contained" in item for item in items(resource, "contained"))


def _dom_3(resource: Element, context: Context) -> bool:
    """What is in something contained is looked at with all that the outermost contains."""
    if "contained" not in resource or context.root is not context.resource:
        return True
    wanted = {f"#{item.get('id')}": item for item in items(resource, "contained")}
    for value in _local_references(resource):
        wanted.pop(value, None)
        if not wanted:
            return True
    return all("#" in _local_references(item) for item in wanted.values())


def _local_references(resource: Element) -> Iterator[str]:
    """Every string that begins with a #, whatever the element: references, canonicals and URIs are not told apart.

    A resource in it that is not contained, as one in Parameters, has a # of its own.
    """
    waiting: list[Any] = [resource]
    while waiting:
        value = waiting.pop()
        is_object = type(value) is dict
        if is_object and "contained" in value:
            waiting += [item for item in items(value, "contained") if "resourceType" in item]
        for item in value.values() if is_object else value:
            kind = type(item)
            if (kind is dict and "resourceType" not in item) or kind is list:
                waiting.append(item)
            elif kind is str and item[:1] == "#":
                yield item


def _without_meta(*names: str) -> Holds:
    def holds(resource: Element, _context: Context) -> bool:
        if "contained" not in resource:
            return True
        metas = [meta for item in items(resource, "contained") for meta in items(item, "meta")]
        return not any(has(meta, name) for meta in metas for name in names)

    return holds


def _dom_6(resource: Element, context: Context) -> bool:
    """What is contained is told of in the narrative of what it is in."""
    narrative = resource.get("text", {})
    return context.root is not context.resource or type(narrative) is not dict or "div" in narrative


_FULL_URL = (
    "FullUrl must be unique in a bundle, or else entries with the same fullUrl must have different meta.versionId "
    "(except in history bundles)"
)
_RESPONSE = "entry.response mandatory for batch-response/transaction-response/history, otherwise prohibited"
_CONTAINED = (
    "If the resource is contained in another resource, it SHALL be referred to from elsewhere in the resource or SHALL "
    "refer to the containing resource"
)
_NESTED = "If the resource is contained in another resource, it SHALL NOT contain nested Resources"
_VERSIONED = "If a resource is contained in another resource, it SHALL NOT have a meta.versionId or a meta.lastUpdated"

RULES: Rules = {
    "Bundle": (
        error("bdl-1", "total only when a search or history", _bdl_1, ALL),
        error("bdl-2", "entry.search only when a search", _bdl_2, ALL),
        error(
            "bdl-3",
            "entry.request mandatory for batch/transaction/history, otherwise prohibited",
            _just_for("request", _REQUESTS),
            R4,
        ),
        error("bdl-4", _RESPONSE, _just_for("response", _RESPONSES), R4),
        error("bdl-7", _FULL_URL, _bdl_7, SINCE_R4),
        error("bdl-9", "A document must have an identifier with a system and a value", _bdl_9, ALL),
        error("bdl-10", "A document must have a date", _bdl_10, SINCE_R4),
        error(
            "bdl-11",
            "A document must have a Composition as the first resource",
            _begins_with("document", "Composition"),
            SINCE_R4,
        ),
        error(
            "bdl-12",
            "A message must have a MessageHeader as the first resource",
            _begins_with("message", "MessageHeader"),
            SINCE_R4,
        ),
    ),
    "Bundle.entry": (
        error(
            "bdl-5",
            "must be a resource unless there's a request or response",
            any_of("resource", "request", "response"),
            ALL,
        ),
        error("bdl-8", "fullUrl cannot be a version specific reference", _bdl_8, ALL),
    ),
    "DomainResource": (
        error("dom-2", _NESTED, _dom_2, ALL),
        error("dom-3", _CONTAINED, _dom_3, SINCE_R4),
        error("dom-4", _VERSIONED, _without_meta("versionId", "lastUpdated"), ALL),
        error(
            "dom-5",
            "If a resource is contained in another resource, it SHALL NOT have a security label",
            _without_meta("security"),
            SINCE_R4,
        ),
        warning("dom-6", "A resource should have narrative for robust management", _dom_6, SINCE_R4),
    ),
    "Parameters.parameter": (
        error(
            "inv-1",
            "A parameter must have one and only one of (value, resource, part)",
            just_one("value[x]", "resource", "part"),
            SINCE_R4,
        ),
    ),
}
