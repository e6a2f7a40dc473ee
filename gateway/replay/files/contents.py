"""A file in JSON or XML: one message, a batch of them, or lines of them; whatever else it is, is handed on as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from gateway.errors import Unreadable
from gateway.fhir import batch_json, batch_xml, formats
from gateway.fhir.batch_json import NoBatch
from gateway.replay.files import lines
from gateway.replay.files.found import Found, message, problem
from gateway.replay.files.streams import begin, joined, pieces

_LINES = (".ndjson", ".jsonl")
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"

Split = Callable[[Iterable[bytes], int], Iterator[bytes | None]]
_SPLIT: dict[str, Split] = {"json": batch_json.messages, "xml": batch_xml.messages}
_KINDS = (b"batch", b"collection")


def read(name: str, stream: BinaryIO, largest: int) -> Iterator[Found]:
    """What is in it; each message has at most `largest` bytes. Raises Broken where it cannot be read on."""
    if name.lower().endswith(_LINES):
        yield from lines.read(name, stream, largest)
        return
    content, broken = begin(stream, largest + 1)
    if lines.is_lines(content):
        yield from lines.read(name, joined(content, stream), largest)
    elif broken is not None:
        found = _batch(name, chain([content], pieces(stream)), formats.guess(content), largest)
        if found is None:
            raise broken
        yield from found
    elif (wrong := _wrong(content)) is not None:
        yield problem(name, wrong)
    elif len(content) > largest:
        yield from _large(name, content, stream, largest)
    else:
        yield from _small(name, content, largest)


def _wrong(content: bytes) -> str | None:
    """Why it is not worth reading, going by how it begins."""
    text = content.removeprefix(_BOM).lstrip(_SPACE)
    if not text:
        return "is empty."
    if formats.guess(content) == "xml" or text.startswith(b"{"):
        return None
    return "is nothing that messages are read from: JSON, XML, NDJSON, or an archive (zip, tar, gzip) of them."


def _small(name: str, content: bytes, largest: int) -> Iterator[Found]:
    form = formats.guess(content)
    found = _batch(name, _in_order(content, form), form, largest) if any(kind in content for kind in _KINDS) else None
    if found is not None:
        yield from found
    elif (wrong := _cut_off(content, form)) is not None:
        yield problem(name, wrong)
    else:
        yield message(name, content)


def _large(name: str, content: bytes, stream: BinaryIO, largest: int) -> Iterator[Found]:
    found = _batch(name, chain([content], pieces(stream)), formats.guess(content), largest)
    if found is not None:
        yield from found
    else:
        late = " A batch may be larger, if it says its `type` before its entries."
        yield problem(name, f"is larger than {largest} bytes (max_message_bytes).{late}")


def _in_order(content: bytes, form: str) -> list[bytes]:
    """The content; if it is a batch that says so too late, the same in another order."""
    return (batch_json.type_first(content) if form == "json" else None) or [content]


def _cut_off(content: bytes, form: str) -> str | None:
    """Why a single document is not whole, as far as can be seen without reading it."""
    if form == "xml":
        is_whole = content.rstrip(_SPACE + b"\0").endswith(b">")
        return None if is_whole else "is cut off: it does not end with a tag. Get a whole copy of it."
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start} cannot be decoded. Save it as UTF-8."
    is_whole = content.rstrip(_SPACE).endswith(b"}")
    return None if is_whole else "is cut off: it does not end with }. Get a whole copy of it."


def _batch(name: str, parts: Iterable[bytes], form: str, largest: int) -> Iterator[Found] | None:
    """What is in a batch; None if it is none."""
    resources = _SPLIT[form](parts, largest)
    try:
        first = next(resources, None)
    except (NoBatch, Unreadable):
        return None
    return _entries(name, chain([first], resources), largest)


def _entries(name: str, resources: Iterator[bytes | None], largest: int) -> Iterator[Found]:
    number = 0
    try:
        for number, resource in enumerate(resources, 1):
            entry = f"{name}#entry[{number - 1}]"
            if resource is None:
                yield problem(entry, f"is larger than {largest} bytes (max_message_bytes).")
            elif not resource:
                yield problem(entry, "has no resource.")
            else:
                yield message(entry, resource)
    except Unreadable as refusal:
        yield problem(name, f"{refusal}: it cannot be read after entry[{number - 1}]. Get a whole copy of it.")
