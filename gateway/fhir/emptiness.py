"""What is empty says nothing, and FHIR does not allow it: no "", no [], no {} (https://hl7.org/fhir/R4/json.html).

Some senders write it nevertheless, and the check lets it pass with a warning. What the gateway keeps, and answers
with, is without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from gateway.fhir import json
from gateway.fhir.json import Resource


def without_empty(resource: Resource) -> Resource:
    """The resource without what is empty, and without what is empty when that is gone; the rest in its order.

    An empty item of an array becomes null where `_given` has something beside it in `given`, or the other way round.
    Where nothing is empty, it is the resource itself: this is found out at a fraction of the cost.
    """
    written = json.serialize(resource)
    return _filled(resource) if _may_have_empty(written) else resource


def written_without_empty(resource: Resource) -> bytes:
    """As `json.serialize` of `without_empty`, at the cost of one of them where nothing is empty."""
    written = json.serialize(resource)
    return json.serialize(_filled(resource)) if _may_have_empty(written) else written


def _may_have_empty(written: bytes) -> bool:
    return b'""' in written or b"[]" in written or b"{}" in written


def _filled(element: dict[str, Any]) -> dict[str, Any]:
    members = {name: _cleaned(value) for name, value in element.items()}
    for name in [name for name, value in members.items() if type(value) is list and not name.startswith("_")]:
        sibling = f"_{name}"
        beside = members.get(sibling)
        pairs = zip_longest(members[name], beside if type(beside) is list else ())
        said = [pair for pair in pairs if pair != (None, None)]
        members[name] = _unless_all_null(value for value, _ in said)
        if type(beside) is list:
            members[sibling] = _unless_all_null(value for _, value in said)
    return {name: value for name, value in members.items() if not _is_empty(value)}


def _cleaned(value: Any) -> Any:
    if type(value) is dict:
        return _filled(value)
    if type(value) is list:
        items = (_cleaned(item) for item in value)
        return [None if _is_empty(item) else item for item in items]
    return value


def _unless_all_null(items: Iterable[Any]) -> list[Any]:
    found = list(items)
    return found if any(item is not None for item in found) else []


def _is_empty(value: Any) -> bool:
    return type(value) in (str, list, dict) and not value
