"""What a caller may do: system scopes of SMART App Launch, in their second form and in the first.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

Interaction = Literal["c", "r", "u", "d", "s"]
ADMINISTRATOR = "admin"
_CRUDS = "cruds"
_FIRST_FORM = {"read": "rs", "write": "cud", "*": _CRUDS}
_SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)")


def is_scope(text: str) -> bool:
    """Whether it is one that the gateway knows."""
    return _read(text) is not None


def grants(scopes: Iterable[str], resource_type: str, interaction: Interaction) -> bool:
    """Whether some of these scopes allow an interaction with resources of a type."""
    found = (_read(scope) for scope in scopes)
    return any(one is not None and one[0] in ("*", resource_type) and interaction in one[1] for one in found)


def granted(asked: Iterable[str], most: Iterable[str]) -> frozenset[str]:
    """What of the scopes that are asked for may be given to who is given `most`; what is no scope here is left out.

    A scope that is given whole stays as it was asked for.
    """
    limits = [one for scope in most if (one := _read(scope))]
    return frozenset(given for scope in asked for given in _granted(scope, limits))


def _granted(scope: str, limits: Iterable[tuple[str, str]]) -> list[str]:
    asked = _read(scope)
    if asked is None:
        return []
    kind, wanted = asked
    found: dict[str, set[str]] = {}
    for limit, letters in limits:
        if kind in (limit, "*") or limit == "*":
            found.setdefault(limit if kind == "*" else kind, set()).update(set(letters) & set(wanted))
    if found.get(kind) == set(wanted):
        return [scope]
    return [f"system/{one}.{_ordered(letters)}" for one, letters in found.items() if letters]


def _ordered(letters: Iterable[str]) -> str:
    return "".join(sorted(letters, key=_CRUDS.index))


@lru_cache(1024)
def _read(scope: str) -> tuple[str, str] | None:
    """The type ("*": any) and the interactions."""
    match = _SCOPE.fullmatch(scope)
    if match is None or not match[2]:
        return None
    return match[1], _FIRST_FORM.get(match[2], match[2])
