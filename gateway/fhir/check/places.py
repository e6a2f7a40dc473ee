"""Where in the text that was sent the elements are that issues name: lines and columns, for whoever edits the text.

The text is gone through once more, and only where there are issues; time and memory grow with its length alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from json import JSONDecoder
from typing import Any, NoReturn
from xml.parsers import expat

from gateway.errors import Issue, Refused
from gateway.fhir import definitions, xml
from gateway.fhir.issues import step

Place = tuple[int, int]
"""Line and column of an element's first character, from 1; a column counts characters, whatever their bytes."""
Path = tuple[str | int, ...]
"""`("entry", 2, "resource", "status")`"""

_STEP = re.compile(r"(?:^|\.)(`(?:[^`\\]|\\.)*`|[^.\[\]`()]+)|\[([0-9]{1,9})\]")
_SPACE = re.compile(r"[ \t\n\r]*")
_JSON = JSONDecoder(parse_int=str, parse_float=str)
_BOM = b"\xef\xbb\xbf"


def with_places(issues: Sequence[Issue], body: bytes, format_name: str, within: Path = ()) -> list[Issue]:
    """The issues, each with the line and column in `body` of what its expression names, where it has none yet.

    `within` is as for `locate`.
    """
    sought = {issue.expression for issue in issues if issue.expression and issue.line is None}
    places = locate(body, format_name, sought, within) if sought else {}
    return [
        replace(issue, line=place[0], column=place[1])
        if issue.line is None and (place := places.get(issue.expression or ""))
        else issue
        for issue in issues
    ]


def locate(body: bytes, format_name: str, expressions: Iterable[str], within: Path = ()) -> dict[str, Place]:
    """Where in `body`, JSON or XML by `format_name`, that is what each of the FHIRPath expressions names.

    In JSON that is where its value begins, in XML where its start tag does; what is not there has the place of the
    nearest that is around it. `within` is where the resource is that the expressions begin at: empty if it is the
    whole, `("parameter", 1, "resource")` in a Parameters. From where the text is not well-formed nothing is found;
    never raises.
    """
    paths = {expression: within + _steps(expression)[1:] for expression in expressions}
    try:
        if format_name == "xml":
            return _locate_in_xml(xml.utf8(body), paths)
        return _locate_in_json(body.removeprefix(_BOM).decode(), paths)
    except (Refused, ValueError, RecursionError):
        return {}


def _steps(expression: str) -> Path:
    """Its names and indices as far as it consists of them."""
    steps: list[str | int] = []
    end = 0
    while found := _STEP.match(expression, end):
        steps.append(found[1] or int(found[2]))
        end = found.end()
    return tuple(steps)


class _Node:
    """An element that is sought, or that is around such: where it is, and what is sought in it."""

    __slots__ = ("inner", "offset")

    def __init__(self) -> None:
        self.offset: int | None = None
        self.inner: dict[str | int, _Node] = {}

    def add(self, path: Path) -> None:
        node = self
        for each in path:
            node = node.inner.setdefault(each, _Node())

    def find(self, path: Path) -> int | None:
        """The offset of the last on the path that has one."""
        node, offset = self, self.offset
        for each in path:
            node = node.inner[each]
            offset = offset if node.offset is None else node.offset
        return offset


def _tree(paths: Collection[Path]) -> _Node:
    root = _Node()
    for path in paths:
        root.add(path)
    return root


def _places(text: str | bytes, root: _Node, paths: dict[str, Path]) -> dict[str, Place]:
    """Offsets as lines and columns; `text` in bytes is UTF-8."""
    offsets = {expression: offset for expression, path in paths.items() if (offset := root.find(path)) is not None}
    places: dict[int, Place] = {}
    line, column, before = 1, 1, 0
    for offset in sorted({*offsets.values()}):
        part = text[before:offset] if isinstance(text, str) else text[before:offset].decode()
        if lines := part.count("\n"):
            line, column = line + lines, 1
        column += len(part) - (part.rfind("\n") + 1)
        before, places[offset] = offset, (line, column)
    return {expression: places[offset] for expression, offset in offsets.items()}


@cache
def _choice_types() -> frozenset[str]:
    """`Quantity`, `DateTime` and so on: what the name of an element that is a choice may end with."""
    values = [field.name for field in definitions.get_type("Extension").fields.values() if field.element == "value"]
    return frozenset(name.removeprefix("value") for name in values)


def _is_choice(name: str, element: str) -> bool:
    return name.startswith(element) and name[len(element) :] in _choice_types()


# --- JSON: what is sought is found in the values first, so that the text is read only along the ways there ------------


def _locate_in_json(text: str, paths: dict[str, Path]) -> dict[str, Place]:
    value = _JSON.decode(text)
    found = {expression: tuple(_members(value, path)) for expression, path in paths.items()}
    root = _tree(found.values())
    _read_value(text, _skip_space(text, 0), root)
    return _places(text, root, found)


def _members(value: Any, path: Path) -> Iterator[str | int]:
    """The names and indices that JSON has on the path, as far as they are there."""
    for number, each in enumerate(path):
        if isinstance(each, int):
            if isinstance(value, list) and each < len(value):
                yield each
                value = value[each]
            elif each or isinstance(value, list):
                return
        else:
            name = _member(value, each, path[number + 1 :]) if isinstance(value, dict) else None
            if name is None:
                return
            yield name
            value = value[name]


def _member(value: dict[str, Any], element: str, rest: Path) -> str | None:
    """The name that the element has in the object: its own, with its type, or that of what is beside its value."""
    if element.startswith("`"):
        return next((name for name in value if step(name) == element), None)
    name = element if element in value else next((name for name in value if _is_choice(name, element)), element)
    sibling = f"_{name}"
    if name not in value and sibling not in value:
        sibling = next((name for name in value if name[:1] == "_" and _is_choice(name[1:], element)), sibling)
    if sibling in value and (name not in value or not _has(value[name], rest)):
        return sibling
    return name if name in value else None


def _has(value: Any, rest: Path) -> bool:
    """Whether the value, not what is beside it, is what the rest of a path goes on in."""
    if rest and isinstance(rest[0], int) and isinstance(value, list):
        value, rest = value[rest[0]] if rest[0] < len(value) else None, rest[1:]
        return isinstance(value, dict) if rest else value is not None
    return isinstance(value, dict) if rest and isinstance(rest[0], str) else True


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _read_value(text: str, at: int, node: _Node) -> int:
    """The end of the value that begins at `at`, which is well-formed; the nodes get their offsets."""
    node.offset = at
    if not node.inner or text[at] not in "{[":
        return _JSON.raw_decode(text, at)[1]
    is_object, index, end = text[at] == "{", 0, at + 1
    while text[end := _skip_space(text, end)] not in "}]":
        inner: _Node | None
        if is_object:
            name, end = _JSON.raw_decode(text, end)
            end = _skip_space(text, _skip_space(text, end) + 1)
            inner = node.inner.get(name)
        else:
            inner, index = node.inner.get(index), index + 1
        end = _read_value(text, end, inner) if inner is not None else _JSON.raw_decode(text, end)[1]
        end = _skip_space(text, end)
        end += text[end] == ","
    return end + 1


# --- XML --------------------------------------------------------------------------------------------------------------


def _locate_in_xml(data: bytes, paths: dict[str, Path]) -> dict[str, Place]:
    search = _Search(_tree(paths.values()))
    _parse(data, search)
    return _places(data, search.root, paths)


class _DoctypeError(Exception):
    """There is one: nothing is read of what it declares."""


class _Search:
    """Gives the nodes their offsets. Of each element that is open it has the node, and how many of each name it had."""

    def __init__(self, root: _Node) -> None:
        self.root = root
        self._open: list[tuple[_Node, dict[str, int]] | None] = []

    def start(self, name: str, offset: int) -> None:
        if not self._open:
            self.root.offset = offset
            self._open.append((self.root, {}))
            return
        around = self._open[-1]
        if around is None:
            self._open.append(None)
        elif name[:1].isupper():  # a resource within the element that has it
            self._open.append((around[0], {}))
        else:
            self._open.append(self._enter(around, name, offset))

    def _enter(
        self, around: tuple[_Node, dict[str, int]], name: str, offset: int
    ) -> tuple[_Node, dict[str, int]] | None:
        sought, counts = around
        element = name if name in sought.inner else next((e for e in sought.inner if _is_named(name, e)), None)
        if not isinstance(element, str):
            return None
        index = counts[element] = counts.get(element, -1) + 1
        node = sought.inner[element]
        if index == 0:
            node.offset = offset
        one = node.inner.get(index)
        if one is not None:
            one.offset = offset
            return one, {}
        return (node, {}) if index == 0 else None

    def end(self) -> None:
        self._open.pop()


def _is_named(name: str, element: str | int) -> bool:
    if isinstance(element, int):
        return False
    return step(name) == element if element.startswith("`") else _is_choice(name, element)


def _parse(data: bytes, reader: _Search) -> None:
    """Reads UTF-8, whatever it declares, without any DOCTYPE, as far as it is well-formed."""
    parser = expat.ParserCreate("utf-8", "}")
    parser.StartElementHandler = lambda name, _: reader.start(name.rpartition("}")[2], parser.CurrentByteIndex)
    parser.EndElementHandler = lambda _: reader.end()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, _DoctypeError):
        return


def _refuse(*_: object) -> NoReturn:
    raise _DoctypeError
