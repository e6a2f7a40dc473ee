"""The messages in a Bundle of type batch, or in a collection, out of JSON that comes in pieces, each byte for byte.

Only what is around them is looked at: the memory that it takes is that of one entry, however long the Bundle is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gateway.errors import Issue, Unreadable

KINDS = (b"batch", b"collection")
_QUOTED_KINDS = tuple(b'"%s"' % kind for kind in KINDS)
_CARRIERS = (b'"Bundle"', b'"Parameters"')
_AROUND = 64 * 1024
"""What an entry may have beside its resource."""
_TOLD = 256 * 1024
"""What a Bundle's own members, other than `entry`, may take each; the longer are passed over."""
_LONGEST_TEXT = 16 * 1024 * 1024
"""Of one of its names or texts: it is in memory."""

_SPACE = re.compile(rb"[ \t\r\n]*+")
_WITHIN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRING = re.compile(rb'"%b"' % _WITHIN.pattern, re.DOTALL)
_FLAT = re.compile(rb'[^"{}\[\]]*+(?:%b[^"{}\[\]]*+)*+' % _STRING.pattern, re.DOTALL)
_STEP = re.compile(rb"%b[{}\[\]]" % _FLAT.pattern, re.DOTALL)
_BRACKET = re.compile(rb"%b(?:[{\[]%b[}\]]%b)*+[{}\[\]]" % (3 * (_FLAT.pattern,)), re.DOTALL)
"""Up to the next bracket that is not that of a flat object or array, all of which is passed over."""
_OTHER = re.compile(rb'[^\s,:"{}\[\]]++')
_OPENING = b"{["
_QUOTE = ord('"')
_BOM = b"\xef\xbb\xbf"


class NoBatch(Exception):  # noqa: N818 - a finding
    """It is no Bundle of messages: something else, or nothing that can be read."""


def messages(pieces: Iterable[bytes], largest: int) -> Iterator[bytes | None]:
    """The resource of each entry: b"" where it has none, None where it is larger than `largest` bytes.

    Raises NoBatch before the first one if it is no batch, nor a collection, that begins with a message, or if `type`
    comes after `entry`; Unreadable where it breaks off, or is not JSON between its entries.
    """
    text = _Text(pieces)
    kind, is_bundle, seen = b"", False, set[bytes]()
    for name in text.members():
        if name in seen:
            raise _unreadable(f"has the member {name.decode(errors='replace')} twice")
        seen.add(name)
        if name == b'"entry"' and text.peek() == b"[":
            if not is_bundle or kind not in _QUOTED_KINDS:
                raise NoBatch
            yield from _resources(text, largest, is_batch=kind == b'"batch"')
            continue
        value = text.value(_TOLD)
        is_bundle = is_bundle or (name == b'"resourceType"' and value == b'"Bundle"')
        kind = value or b"" if name == b'"type"' else kind
    if b'"entry"' not in seen:
        raise NoBatch
    if not text.is_over():
        raise _unreadable("goes on after its end")


def type_first(content: bytes) -> list[bytes] | None:
    """A Bundle that says only after its `entry` that it is a batch or collection, in an order that can be read."""
    known = _members(content, b'"resourceType"', b'"type"', b'"entry"')
    kind = known.get(b'"type"', b"")
    if known.get(b'"resourceType"') != b'"Bundle"' or kind not in _QUOTED_KINDS or b'"entry"' not in [*known][:2]:
        return None
    return [b'{"resourceType":"Bundle","type":', kind, b',"entry":', known[b'"entry"'], b"}"]


def _resources(text: _Text, largest: int, *, is_batch: bool) -> Iterator[bytes | None]:
    is_first = True
    for _ in text.items():
        entry = text.value(largest + _AROUND)
        resource = None if entry is None else _members(entry, b'"resource"').get(b'"resource"', b"")
        if resource is not None and len(resource) > largest:
            resource = None
        if is_first and not (_may_be_message(resource) if is_batch else resource and _is_message(resource)):
            raise NoBatch
        is_first = False
        yield resource


def _may_be_message(resource: bytes | None) -> bool:
    """Whether it is a Bundle, or a Parameters that may have one; what is too large to be known may be one."""
    return resource is None or _members(resource, b'"resourceType"').get(b'"resourceType"', b"") in _CARRIERS


def _is_message(resource: bytes) -> bool:
    known = _members(resource, b'"resourceType"', b'"type"')
    return known == {b'"resourceType"': b'"Bundle"', b'"type"': b'"message"'}


def _members(content: bytes, *names: bytes) -> dict[bytes, bytes]:
    """These members of an object, as they are written, in their order; what is no object has none."""
    found: dict[bytes, bytes] = {}
    text = _Text([content])
    try:
        for name in text.members():
            value = text.value(len(content))
            if name in names and value is not None:
                found[name] = value
            if len(found) == len(names):
                break
    except (NoBatch, Unreadable):
        pass
    return found


class _Text:
    """JSON that comes in pieces, read from where it is read to."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._data = b""
        self._at = 0

    def members(self) -> Iterator[bytes]:
        """The names of an object's members, quoted; each value is to be read before the next name."""
        while not self._at and len(self._data) < len(_BOM) and self._more():
            pass
        self._data = self._data if self._at else self._data.removeprefix(_BOM)
        if self.peek() != b"{":
            raise NoBatch
        for _ in self.items():
            self.peek()
            name = self._token(_STRING)
            if self.peek() != b":":
                raise _unreadable("has a member without a colon after its name")
            self._at += 1
            yield name

    def items(self) -> Iterator[None]:
        """Stands before each item of an array, or of an object, in turn; it is to be read before the next."""
        self._at += 1
        if self.peek() in (b"]", b"}"):
            self._at += 1
            return
        while True:
            yield
            end = self.peek()
            self._at += 1
            if end in (b"]", b"}"):
                return
            if end != b",":
                raise _unreadable("has no comma where one is to be")

    def is_over(self) -> bool:
        """Whether nothing but white space follows."""
        try:
            return not self.peek()
        except Unreadable:
            return True

    def peek(self) -> bytes:
        """The next byte that is no white space. Unreadable if there is none."""
        while True:
            found = _SPACE.match(self._data, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._more():
                raise _cut_off()

    def value(self, largest: int) -> bytes | None:
        """The value that begins here, as it is written; None if it is larger. Unreadable if it does not end."""
        first = self.peek()
        if first == b'"':
            value = self._token(_STRING)
            return value if len(value) <= largest else None
        if first not in (b"{", b"["):
            return self._token(_OTHER)
        return self._nested(largest)

    def _nested(self, largest: int) -> bytes | None:
        depth, end = 1, self._at + 1
        while True:
            found = _BRACKET.match(self._data, end)
            if found is not None:
                end = found.end()
                depth += 1 if self._data[end - 1] in _OPENING else -1
                if depth == 0:
                    start, self._at = self._at, end
                    return self._data[start:end] if end - start <= largest else None
                continue
            length = end - self._at
            if len(self._data) - self._at > largest:
                self._at = end
                self._pass_over(depth)
                return None
            if not self._more():
                raise _cut_off()
            end = length

    def _pass_over(self, depth: int) -> None:
        """Reads to the end of what has so many brackets open, and keeps nothing of it."""
        while depth:
            found = _STEP.match(self._data, self._at)
            if found is not None:
                self._at = found.end()
                depth += 1 if self._data[self._at - 1] in _OPENING else -1
                continue
            self._at = _after(_FLAT, self._data, self._at)
            is_text = self._data[self._at : self._at + 1] == b'"'
            self._at = _after(_WITHIN, self._data, self._at + 1) if is_text else self._at
            while is_text and self._data[self._at : self._at + 1] != b'"':
                if not self._more():
                    raise _cut_off()
                self._at = _after(_WITHIN, self._data, self._at)
            if is_text:
                self._at += 1
            elif not self._more():
                raise _cut_off()

    def _token(self, pattern: re.Pattern[bytes]) -> bytes:
        """What is of this pattern here, and is followed by something else. Unreadable if nothing is."""
        while True:
            found = pattern.match(self._data, self._at)
            if found is not None and found.end() < len(self._data):
                self._at = found.end()
                return found[0]
            if found is None and (pattern is _OTHER or self._data[self._at] != _QUOTE):
                raise _unreadable("is not JSON where a name or a value is to be")
            if len(self._data) - self._at > _LONGEST_TEXT:
                raise _unreadable("has a text that is too long")
            if not self._more():
                raise _cut_off()

    def _more(self) -> bool:
        """Reads on, at least as much again as is there unread, so that nothing is looked at often."""
        parts = [self._data[self._at :]]
        wanted = max(len(parts[0]), 1)
        got = 0
        while got < wanted and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            got += len(piece)
        self._data, self._at = b"".join(parts), 0
        return got > 0


def _after(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return found.end() if found else at


def _cut_off() -> Unreadable:
    return _unreadable("is cut off")


def _unreadable(what: str) -> Unreadable:
    return Unreadable(Issue("structure", what, severity="fatal"))
