"""What the keys of a TOML file may hold: what settings, profiles, policy packs and partners have in common.

A reader of a key turns a TOML value into the file's own, or raises UnfitError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Keys = Mapping[str, Callable[[Any], Any]]
"""The keys there are, and the reader of each."""
_MOST_NAMED = 15


class UnfitError(Exception):
    """A value that its key does not take; the text goes after "takes"."""


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnfitError("a text that is not empty")
    return value.strip()


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def matching(pattern: str, says: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise UnfitError(says)
        return value

    return read


def one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            near = get_close_matches(value, words, n=1) if isinstance(value, str) else []
            raise UnfitError("one of " + ", ".join(words) + (f"; did you mean {near[0]}?" if near else ""))
        return str(value)

    return read


class Reader:
    """Reads one file, and says what is wrong in it: a sentence with file, place and remedy for each fault."""

    def __init__(self, file: Traversable, wrong: list[str]) -> None:
        self.file = file
        self.wrong = wrong

    def fault(self, place: str, sentence: str) -> None:
        self.wrong.append(f"{self.file}, {place}: {sentence}")

    def keys(self, written: Mapping[str, Any], known: Keys, place: str, needed: Iterable[str] = ()) -> dict[str, Any]:
        """The values of the keys, as their readers have them; those that do not fit are left out."""
        found = {}
        for key, value in written.items():
            if key not in known:
                self.fault(place, f"there is no key {key}. {advice(key, known)}")
                continue
            try:
                found[key] = known[key](value)
            except UnfitError as says:
                self.fault(place, f"{key} is {value!r:.60}, but takes {says}{'' if str(says).endswith('?') else '.'}")
        for key in needed:
            if key not in written:
                self.fault(place, f"{key} is missing. Write {key} = …")
        return found


def advice(name: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that is not known: the nearest one, or all there are, 15 at most."""
    known = list(known)
    near = get_close_matches(name, known, n=1)
    more = ", …" if len(known) > _MOST_NAMED else ""
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(known[:_MOST_NAMED]) or 'none'}{more}."
