"""Single values of one type as another type has them: numbers and times by their form, concepts by their parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.fhir.definitions import Field
from gateway.fhir.json import Number
from gateway.fhir.versions.carrying import Pairs

_LOST = object()
_DATE = r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
_FORMS: Mapping[str, re.Pattern[str]] = {
    "string": re.compile(r".*", re.DOTALL),
    "markdown": re.compile(r".*", re.DOTALL),
    **dict.fromkeys(("uri", "url", "canonical"), re.compile(r"\S*")),
    "code": re.compile(r"\S+( \S+)*"),
    "id": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
    "date": re.compile(_DATE),
    "dateTime": re.compile(f"{_DATE}|{_MOMENT}"),
    "instant": re.compile(_MOMENT),
    "integer64": re.compile(r"0|-?[1-9][0-9]{0,18}"),
}
_LEAST = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}
_WHOLE = (*_LEAST, "integer64")


def turned_pairs(pairs: Pairs, field: Field, to: Field) -> Pairs:
    """The values as the field `to` can have them, with those left out that it cannot; the same list if all are."""
    if field.type == to.type and (to.many or len(pairs) == 1):
        return pairs
    turned = [(made, beside) for value, beside in pairs if (made := _turned(value, field, to)) is not _LOST]
    return turned if to.many else turned[:1]


def _turned(value: Any, field: Field, to: Field) -> Any:
    if field.type == to.type or (value is None and field.sibling and to.sibling):
        return value
    if (field.type, to.type) in _CONCEPTS:
        return _CONCEPTS[field.type, to.type](value) if isinstance(value, dict) else _LOST
    if field.kind == "complex" and "." in field.type and "." in to.type:
        return value
    if field.type in _WHOLE and to.type in _WHOLE:
        return _whole(value, to.type)
    if field.kind == to.kind == "string" and isinstance(value, str):
        form = _FORMS.get(to.type)
        return value if form is not None and form.fullmatch(value) else _LOST
    return _LOST


def _whole(value: Any, type_name: str) -> Any:
    """A whole number, which integer64 writes as a string."""
    if isinstance(value, str) and _FORMS["integer64"].fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, (bool, Number)):
        return _LOST
    if type_name == "integer64":
        return str(value)
    return value if _LEAST[type_name] <= value < 2**31 else _LOST


def _first_coding(value: dict[str, Any]) -> Any:
    codings = value.get("coding")
    return codings[0] if isinstance(codings, list) and codings else _LOST


_CONCEPTS: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("CodeableReference", "CodeableConcept"): lambda value: value.get("concept", _LOST),
    ("CodeableReference", "Reference"): lambda value: value.get("reference", _LOST),
    ("CodeableConcept", "CodeableReference"): lambda value: {"concept": value},
    ("Reference", "CodeableReference"): lambda value: {"reference": value},
    ("CodeableConcept", "Coding"): _first_coding,
    ("Coding", "CodeableConcept"): lambda value: {"coding": [value]},
}
