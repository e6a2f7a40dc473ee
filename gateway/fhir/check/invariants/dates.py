"""Comparing dates and times of differing precision: https://hl7.org/fhir/R4/fhirpath.html, http://hl7.org/fhirpath/N1"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from typing import Any

_DATE_TIME = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2})))?)?)?"
)
_DATE = 10
"""Characters; what is longer has a time."""
_HOUR = 3600
_DAY = 24 * _HOUR
_EARLIEST_OFFSET = 14 * _HOUR
_LATEST_OFFSET = 12 * _HOUR
"""A day begins first in +14:00 and ends last in -12:00."""

_Instant = tuple[int, str]
"""Seconds, and the digits of their fraction."""


def is_after(one: Any, other: Any) -> bool:
    """Whether the date or dateTime `one` is later than the `other` for certain.

    Not if either is none, nor if it depends on what they leave open: 2024-05-31 is not after 2024-05, nor for certain
    after 2024-05-31T08:00:00Z.
    """
    if type(one) is not str or type(other) is not str:
        return False
    if len(one) == len(other) and one[_DATE:][-6:] == other[_DATE:][-6:] and one <= other:
        return False
    first, last = _DATE_TIME.fullmatch(one), _DATE_TIME.fullmatch(other)
    if first is None or last is None:
        return False
    if len(one) <= _DATE and len(other) <= _DATE:
        length = min(len(one), len(other))
        return one[:length] > other[:length]
    try:
        return _earliest(first) > _latest(last)
    except ValueError:
        return False


def _earliest(match: re.Match[str]) -> _Instant:
    if match[4] is not None:
        return _instant(match)
    day = date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    return day.toordinal() * _DAY - _EARLIEST_OFFSET, ""


def _latest(match: re.Match[str]) -> _Instant:
    if match[4] is not None:
        return _instant(match)
    year, month = int(match[1]), int(match[2] or 12)
    day = date(year, month, int(match[3]) if match[3] else monthrange(year, month)[1])
    return (day.toordinal() + 1) * _DAY + _LATEST_OFFSET, ""


def _instant(match: re.Match[str]) -> _Instant:
    day = date(int(match[1]), int(match[2]), int(match[3]))
    seconds = day.toordinal() * _DAY + int(match[4]) * _HOUR + int(match[5]) * 60 + int(match[6])
    if match[8] is not None:
        offset = int(match[9]) * _HOUR + int(match[10]) * 60
        seconds -= offset if match[8] == "+" else -offset
    return seconds, (match[7] or "").rstrip("0")
