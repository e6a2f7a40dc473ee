"""Spans of time as `_lastUpdated` asks for them: https://hl7.org/fhir/R4/search.html#date.

A date or moment means all the time that it could: a year, a month, a day, a minute, a second, or what is left open
beyond the last digit of a second. Without an offset it is in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_VALUE = re.compile(
    r"(eq|ge|gt|le|lt|sa|eb)?"
    r"(([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?)",
    re.ASCII,
)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment on, and before another."""

    start: datetime = _FIRST
    end: datetime = _LAST

    def __and__(self, other: Span) -> Span:
        return Span(max(self.start, other.start), min(self.end, other.end))


def read_span(text: str) -> Span | None:
    """The span that a value with its prefix means, or None where it is no such value."""
    match = _VALUE.fullmatch(text)
    if match is None:
        return None
    try:
        meant = _meant(match)
    except (ValueError, OverflowError):
        return None
    prefix = match[1] or "eq"
    if prefix == "eq":
        return meant
    if prefix in ("gt", "sa"):
        return Span(start=meant.end)
    if prefix == "ge":
        return Span(start=meant.start)
    return Span(end=meant.end if prefix == "le" else meant.start)


def _meant(match: re.Match[str]) -> Span:
    """Raises ValueError or OverflowError where there is no such time."""
    year, month, day, hour, minute, second = (int(match[n]) if match[n] else None for n in range(3, 9))
    digits, offset = match[9], match[10] or "Z"
    zone = datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo
    fraction = int(digits[:6].ljust(6, "0")) if digits else 0
    start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, fraction, zone)
    if month is None:
        return Span(_utc(start), _utc(start.replace(year=start.year + 1)))
    if day is None:
        return Span(_utc(start), _utc((start + timedelta(days=31)).replace(day=1)))
    if hour is None:
        return Span(_utc(start), _utc(start + timedelta(days=1)))
    if second is None:
        return Span(_utc(start), _utc(start + timedelta(minutes=1)))
    places = min(len(digits), 6) if digits else 0
    return Span(_utc(start), _utc(start + timedelta(microseconds=10 ** (6 - places))))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
