"""FHIR JSON: bytes to a plain dict and back, losing nothing (https://hl7.org/fhir/R4/json.html).

A resource is a `dict` in the shape FHIR JSON gives it: `resourceType`, `_field` siblings, `null` paddings. Numbers
written with a fraction or an exponent are `Number`s, which keep their digits; other numbers are `int`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, Self

import orjson

from gateway.errors import Issue, NotAMessage, Unreadable
from gateway.fhir import narrative
from gateway.fhir.issues import Issues, Where, shown

Resource = dict[str, Any]

MAX_DEPTH = 200
"""Arrays and objects inside one another; what is within it can be written as XML and as JSON."""
MAX_ELEMENTS = 1_000_000
_DEEPEST_DUMP = 254
"""So many levels orjson writes, and no more."""

_LEXEME = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_DIV = re.compile(rb'"div":("(?:[^"\\]|\\.)*+")')
_SUSPICIOUS = re.compile(r"\\(?:[bf]|u(?:00[01]|003[aA]|[dD][89a-fA-F]|[fF]{3}[eEfF]))")
"""What may be a forbidden character, and a colon that is none between a name and its value."""
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What neither XML nor a database can hold."""
_BOM = b"\xef\xbb\xbf"


class Number(float):
    """A number as it was written: `Number("1.00").lexeme == "1.00"`.

    Equality, hash and arithmetic are `float`'s; far exponents may make it infinite or zero, but never its lexeme.
    """

    __slots__ = ("lexeme",)
    lexeme: str

    def __new__(cls, lexeme: str) -> Self:
        if not _LEXEME.fullmatch(lexeme):
            raise ValueError(f"{lexeme!r} is not a number")
        number = super().__new__(cls, lexeme)
        number.lexeme = lexeme
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.lexeme,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"Number({self.lexeme!r})"


def number(lexeme: str) -> int | Number:
    """The value of a JSON number: an `int` if its digits alone say all of it; ValueError if it is no number."""
    if len(lexeme) < 19 and _INTEGER.fullmatch(lexeme):
        return int(lexeme)
    return Number(lexeme)


def parse(data: bytes) -> Resource:
    """The resource that `data` is. Unreadable if it is not JSON as FHIR allows it, NotAMessage if no resource.

    The structure of the resource is not looked at.
    """
    return _resource(parse_any(data))


def parse_any(data: bytes) -> Any:
    """What `data` says, a resource or not. Unreadable if it is not JSON as FHIR allows it."""
    data = data.removeprefix(_BOM)
    _bound_elements(data)
    text = _decode(data)
    value = _decoded(text, _DECODER)
    is_suspicious = ("\\" in text and _SUSPICIOUS.search(text)) or "\ufffe" in text or "\uffff" in text
    if is_suspicious or not _is_plain(text, value):
        _refuse_repeated_names(text)
        _bound_depth(value)
        _refuse_forbidden_characters(value)
    return value


def parse_own(data: bytes) -> Resource:
    """The resource that `serialize` wrote; nothing that a stranger may get wrong is looked at again."""
    resource: Resource = _DECODER.decode(data.decode())
    return resource


def serialize(resource: Resource) -> bytes:
    """Compact UTF-8, members in their order, numbers as they were written."""
    return orjson.dumps(resource, default=_number_fragment)


def written(content: bytes) -> Any:
    """A resource that `serialize` wrote, to be written as it is within another."""
    return orjson.Fragment(content)


def canonical(value: Any) -> bytes:
    """The same bytes for the same content, whatever the order of members and whether it came as JSON or as XML."""
    data = orjson.dumps(value, default=_number_fragment, option=orjson.OPT_SORT_KEYS)
    if b"null" in data or b"[]" in data:
        data = orjson.dumps(_unpadded(value), default=_number_fragment, option=orjson.OPT_SORT_KEYS)
    return _DIV.sub(_canonical_div, data)


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        text = f"The JSON is not UTF-8: byte {error.start} cannot be decoded. Send UTF-8."
        raise Unreadable(Issue("structure", text, severity="fatal")) from None


def _bound_elements(data: bytes) -> None:
    if len(data) > MAX_ELEMENTS and _separators(data, 0, len(data)) > MAX_ELEMENTS and _has_too_many_elements(data):
        text = f"The JSON has more than {MAX_ELEMENTS} elements. Send it as several messages."
        raise Unreadable(Issue("too-costly", text, severity="fatal"))


def _has_too_many_elements(data: bytes) -> bool:
    """Whether so many separators are outside of strings, or so many strings are there that they must be."""
    count = end = 0
    for number, quoted in enumerate(_QUOTED.finditer(data)):
        count += _separators(data, end, quoted.start())
        if count > MAX_ELEMENTS or number > 2 * MAX_ELEMENTS:
            return True
        end = quoted.end()
    return count + _separators(data, end, len(data)) > MAX_ELEMENTS


def _separators(data: bytes, start: int, end: int) -> int:
    return data.count(b",", start, end) + data.count(b"{", start, end) + data.count(b"[", start, end)


def _is_plain(text: str, value: Any) -> bool:
    """Whether it can be seen at once that no name is repeated and nothing is nested too deeply.

    Every name has a colon after it in `text`, and in `value` as it is written again, where repeated names are left out.
    """
    for _ in range(_DEEPEST_DUMP - MAX_DEPTH):
        value = [value]
    try:
        return text.count(":") == orjson.dumps(value, default=_number_fragment).count(b":")
    except orjson.JSONEncodeError:
        return False


def _refuse_repeated_names(text: str) -> None:
    try:
        _decoded(text, _STRICT_DECODER)
    except _RepeatedNameError:
        raise Unreadable(*_repeated_names(text)) from None


def _decoded(text: str, decoder: JSONDecoder) -> Any:
    try:
        return decoder.decode(text)
    except JSONDecodeError as error:
        sentence = f"Not well-formed JSON at line {error.lineno}, column {error.colno}: {error.msg}."
    except _ConstantError as error:
        sentence = f"{error} is not a number that JSON knows."
    except RecursionError:
        raise _too_deep() from None
    raise Unreadable(Issue("structure", sentence, severity="fatal"))


class _RepeatedNameError(Exception):
    pass


class _ConstantError(Exception):
    pass


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) != len(members):
        raise _RepeatedNameError
    return result


def _constant(name: str) -> Any:
    raise _ConstantError(name)


_DECODER = JSONDecoder(parse_float=Number, parse_int=number, parse_constant=_constant)
_STRICT_DECODER = JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_constant)


def _bound_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Unreadable:
    text = f"The JSON is nested more than {MAX_DEPTH} levels deep. Send a flatter resource."
    return Unreadable(Issue("too-costly", text, severity="fatal"))


def _resource(value: Any) -> Resource:
    if not isinstance(value, dict):
        raise NotAMessage(Issue("structure", "The JSON is not an object. Send a FHIR resource.", severity="fatal"))
    resource_type = value.get("resourceType")
    if isinstance(resource_type, str) and resource_type:
        return value
    text = "The JSON object has no resourceType. Name the type of the resource, for example Bundle."
    raise NotAMessage(Issue("structure", text, "resourceType", severity="fatal"))


class _Members(list[tuple[str, Any]]):
    """An object with its repeated names still in it."""


_PLAIN_DECODER = JSONDecoder(parse_float=str, parse_int=str, parse_constant=_constant)
_MEMBERS_DECODER = JSONDecoder(object_pairs_hook=_Members, parse_float=str, parse_int=str, parse_constant=_constant)


def _repeated_names(text: str) -> list[Issue]:
    _bound_depth(_decoded(text, _PLAIN_DECODER))
    issues = Issues(Unreadable)
    for where, value in _values(_decoded(text, _MEMBERS_DECODER), None):
        if isinstance(value, _Members):
            for name, count in Counter(name for name, _ in value).items():
                if count > 1:
                    text = f"The name {shown(name)} is given {count} times in one object. Give it once."
                    issues.add("structure", text, where)
    return issues.found


def _refuse_forbidden_characters(value: Any) -> None:
    issues = Issues(Unreadable)
    for where, item in _values(value, None):
        for text in item if isinstance(item, dict) else [item]:
            found = isinstance(text, str) and FORBIDDEN.search(text)
            if found:
                sentence = f"The character U+{ord(found[0]):04X} is not allowed in FHIR. Leave it out."
                issues.add("invalid", sentence, where)
    issues.refuse_any()


def _values(value: Any, where: Where | None) -> Iterator[tuple[Where | None, Any]]:
    """Every value within `value`, and itself."""
    if isinstance(value, (dict, _Members)):
        where = where or (None, str(dict(value).get("resourceType", "Resource")), None)
        yield where, value
        for name, item in value.items() if isinstance(value, dict) else value:
            yield from _values(item, (where, name.removeprefix("_"), None))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, (where[0], where[1], index) if where else None)
    else:
        yield where, value


def _number_fragment(value: object) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.lexeme)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _unpadded(value: Any) -> Any:
    """`value` without the nulls and the empty arrays that say nothing."""
    if isinstance(value, dict):
        members = {name: _unpadded(item) for name, item in value.items()}
        return {name: item for name, item in members.items() if item is not None and item != []}
    if isinstance(value, list):
        items = [_unpadded(item) for item in value]
        while items and items[-1] is None:
            items.pop()
        return items
    return value


def _canonical_div(member: re.Match[bytes]) -> bytes:
    return b'"div":' + orjson.dumps(narrative.canonical(orjson.loads(member[1])))
