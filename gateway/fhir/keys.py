"""What the keys of a TOML file may hold: readers that profiles, policy packs and partners have in common.

Each turns a TOML value into the file's own, or raises UnfitError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any


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
