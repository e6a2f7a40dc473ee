"""The dialects: how networks write their messages, and the gateway's own way, `cow`. docs/dialects.md"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from gateway.fhir.dialects import loading
from gateway.fhir.dialects.loading import COW, DialectError
from gateway.fhir.dialects.model import Answer, Composed, Dialect, Manner, Pack

__all__ = ["COW", "Answer", "Composed", "Dialect", "DialectError", "Manner", "get", "names", "use"]

_in_force: dict[str, Pack] = {}
_spoken: dict[str, Dialect] = {}


def use(paths: Iterable[Path] = ()) -> None:
    """Puts the dialects of a site's files in force beside those that the gateway brings.

    Raises DialectError, and changes nothing, when a pack cannot be used.
    """
    found = loading.load(paths)
    _in_force.clear()
    _in_force.update(found)


def get(name: str) -> Dialect:
    """The dialect with this name. Raises KeyError, for a message too whose dialect was taken away since it came."""
    pack = _known().get(name)
    if pack is None:
        raise KeyError(f"There is no dialect {name} here (any more): bring its file back, and start again.")
    dialect = _spoken.get(name)
    if dialect is None or dialect.pack is not pack:
        dialect = _spoken[name] = loading.speak(pack)
    return dialect


def names() -> list[str]:
    """The names of the dialects in force."""
    return list(_known())


def _known() -> Mapping[str, Pack]:
    return _in_force or _shipped()


@cache
def _shipped() -> Mapping[str, Pack]:
    return loading.load()
