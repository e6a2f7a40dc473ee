"""Hypothesis makes resources from the definitions, and damages well-formed ones."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.fhir.definitions import Field, Version, get_type, is_resource, type_names
from gateway.fhir.json import Number

SAMPLES = Path(__file__).parent / "samples"

_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"),
    max_size=8,
)
_DIV = st.just('<div xmlns="http://www.w3.org/1999/xhtml"><p>one <b>two</b>\n</p></div>')
_LEXEMES = st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})\.[0-9]{1,30}([eE][+-]?[0-9]{1,4})?\Z").map(Number)
_INTEGERS = st.integers(-(2**31), 2**31)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": _INTEGERS,
    "decimal": _LEXEMES | _INTEGERS,
    "string": _TEXT,
    "xhtml": _DIV,
}


def resource_types(version: Version = "R4") -> list[str]:
    """The names of all types of resources that there are."""
    return sorted(name for name in type_names(version) if is_resource(name, version))


def resources(depth: int = 3, version: Version = "R4") -> st.SearchStrategy[dict[str, Any]]:
    """Resources in the shape of FHIR JSON: right in their structure, senseless in their content."""
    return st.sampled_from(resource_types(version)).flatmap(lambda name: resource(name, depth, version))


def resource(name: str, depth: int = 3, version: Version = "R4") -> st.SearchStrategy[dict[str, Any]]:
    """Resources of one type."""
    return _objects(name, depth, version).map(lambda members: {"resourceType": name, **members})


@st.composite
def _objects(draw: st.DrawFn, type_name: str, depth: int, version: Version) -> dict[str, Any]:
    kind = get_type(type_name, version)
    fields = list(kind.fields.values()) if depth else [field for field in kind.fields.values() if field.sibling]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.order)) if fields else []
    members: dict[str, Any] = {name: draw(_TEXT) for name in kind.attributes if draw(st.booleans())}
    for field in chosen:
        members.update(draw(_members(field, depth, version)))
    return members


@st.composite
def _members(draw: st.DrawFn, field: Field, depth: int, version: Version) -> dict[str, Any]:
    if not field.sibling:
        value = _value(field, depth - 1, version)
        return {field.name: draw(st.lists(value, min_size=1, max_size=3) if field.many else value)}
    count = draw(st.integers(1, 3)) if field.many else 1
    pairs = [draw(_primitive(field, depth)) for _ in range(count)]
    values, siblings = [value for value, _ in pairs], [sibling for _, sibling in pairs]
    members = {field.name: values, field.sibling: siblings} if field.many else {}
    if not field.many:
        members = {field.name: values[0], field.sibling: siblings[0]}
    return {name: item for name, item in members.items() if item is not None and item != [None] * count}


@st.composite
def _primitive(draw: st.DrawFn, field: Field, depth: int) -> tuple[Any, Any]:
    value = draw(_VALUES[field.kind])
    shape = draw(st.sampled_from(("value", "value", "value", "both", "sibling")))
    if shape == "value":
        return value, None
    sibling = {"id": draw(_TEXT)}
    if depth:
        sibling["extension"] = [{"url": "urn:x-sample", "valueString": draw(_TEXT)}]
    return (value if shape == "both" else None), sibling


def _value(field: Field, depth: int, version: Version) -> st.SearchStrategy[Any]:
    if field.kind == "resource":
        return resources(depth, version)
    return _objects(field.type, depth, version) if field.kind == "complex" else _VALUES[field.kind]


@st.composite
def damaged(draw: st.DrawFn, extension: str) -> bytes:
    """A sample with some of its bytes gone, doubled, moved or replaced."""
    data = draw(st.sampled_from(sorted(SAMPLES.glob(f"*.{extension}")))).read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 60)))
        other = draw(st.integers(0, len(data)))
        new = draw(st.binary(max_size=4) | st.sampled_from(_PIECES) | st.just(data[other : other + 60]))
        data = data[:start] + new + data[end:]
    return data


_PIECES = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"1e999", b"-0", b"NaN", b'"\\ud800"', b"\\u0000", b"\xff"),
    *(b"<", b">", b"/>", b"&", b"&x;", b"<!--", b"<?x?>", b"<![CDATA[", b"<a/>", b' value="', b"xmlns='u'", b"text"),
    *(b'<?xml version="1.0" encoding="utf-16"?>', b"<!DOCTYPE x []>", b"<contained/>", b'<id value="1"/>'),
)
