"""What has changed in a resource, for people to read: one line for each element, with its FHIRPath."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from gateway.fhir import json
from gateway.fhir.json import Resource

_LONGEST = 160
_KEPT_BY_US = ("id", "meta", "resourceType", "text")


def differences(before: Resource | None, after: Resource) -> list[str]:
    """`status: requested → cancelled`, `note[1].text: + "…"`; for a new resource, all that it says.

    What the gateway keeps of it itself (`meta`), and its narrative, are left out.
    """
    was, now = ({k: v for k, v in one.items() if k not in _KEPT_BY_US} for one in (before or {}, after))
    return list(_compare("", was, now))


def _compare(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    match before, after:
        case dict(), dict():
            for name in dict.fromkeys((*before, *after)):
                yield from _compare(f"{path}.{name}" if path else name, before.get(name), after.get(name))
        case list(), list():
            for number, (was, now) in enumerate(zip_longest(before, after)):
                yield from _compare(f"{path}[{number}]", was, now)
        case None, _:
            yield f"{path}: + {_shown(after)}"
        case _, None:
            yield f"{path}: - {_shown(before)}"
        case _:
            yield f"{path}: {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.serialize(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
