"""Where a page of a search ended, as text that a client hands back for the next one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Order = Literal["newest", "_lastUpdated", "-_lastUpdated"]
"""`newest`: what was created last comes first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"n([0-9a-f]{1,15})|([ud])([0-9a-f]{1,13})\.([0-9a-f]{1,15})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """After what in an order: its number and, where the order is one of time, when it was changed."""

    order: Order
    number: int
    updated_at: datetime | None = None

    def __str__(self) -> str:
        if self.updated_at is None:
            return f"n{self.number:x}"
        microseconds = (self.updated_at - _EPOCH) // timedelta(microseconds=1)
        return f"{'u' if self.order == '_lastUpdated' else 'd'}{microseconds:x}.{self.number:x}"


def read_cursor(text: str) -> Cursor | None:
    """What `str(cursor)` made, or None for anything else."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    if match[1]:
        return Cursor("newest", int(match[1], 16))
    try:
        moment = _EPOCH + timedelta(microseconds=int(match[3], 16))
    except OverflowError:
        return None
    return Cursor("_lastUpdated" if match[2] == "u" else "-_lastUpdated", int(match[4], 16), moment)
