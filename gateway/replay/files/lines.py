"""Files with one message on each line (NDJSON): the messages as they are, or with what an export says beside them.

https://github.com/ndjson/ndjson-spec, https://hl7.org/fhir/R4/nd-json.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from gateway.replay.files import about as abouts
from gateway.replay.files.about import UnfitAbout
from gateway.replay.files.found import Found, message, problem
from gateway.replay.files.streams import Broken

_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_LOOK = 1024


def read(name: str, stream: BinaryIO, largest: int) -> Iterator[Found]:
    """One for each message of at most `largest` bytes, and for each place where none can be read."""
    longest = 3 * largest + 1024 * 1024  # a message within a text of JSON, and what is said of it
    reading = _Reading(name, largest)
    try:
        for line in _lines(stream, longest):
            yield from reading.take(line)
        yield from reading.end()
    except Broken as broken:
        yield from reading.end(str(broken))


def is_lines(content: bytes) -> bool:
    """Whether a file begins as one of these does: an object on the first line, and another begins after it."""
    first, _, rest = content.removeprefix(_BOM).lstrip(_SPACE).partition(b"\n")
    if not first.startswith(b"{") or not first.rstrip(_SPACE).endswith(b"}"):
        return False
    return rest[:_LOOK].lstrip(_SPACE).startswith(b"{") or abouts.parse(first) is not None


def _lines(stream: BinaryIO, longest: int) -> Iterator[bytes | None]:
    """The lines; None for one that is longer."""
    while line := stream.readline(longest + 1):
        if len(line) <= longest:
            yield line
            continue
        while not line.endswith(b"\n") and (line := stream.readline(longest)):
            pass
        yield None


@dataclass(slots=True)
class _Reading:
    """How far a file is read; `exported` are the messages of an export since the last line that ends one."""

    name: str
    largest: int
    number: int = 0
    exported: int = 0
    strange: int = 0
    is_export: bool = False
    has_any: bool = False

    def take(self, line: bytes | None) -> Iterator[Found]:
        """What the next line says; None for one that is too long."""
        self.number += 1
        name = f"{self.name}:{self.number}"
        if line is None:
            yield from self._strange()
            self._count(is_exported=self.is_export)
            yield self._too_large(name)
            return
        body = (line.removeprefix(_BOM) if self.number == 1 else line).strip(_SPACE)
        if not body:
            return
        self.has_any = True
        if not body.startswith(b"{") or not body.endswith(b"}"):
            self.strange = self.strange or self.number
            return
        yield from self._strange()
        said = abouts.parse(body)
        if said is None:
            yield self._plain(name, body)
        elif "messages" in said:
            yield from self._ended(name, said["messages"])
        else:
            self.is_export = True
            self._count(is_exported=True)
            yield self._exported(name, said)

    def end(self, broken: str | None = None) -> Iterator[Found]:
        """What is wrong at the end of the file; `broken` is why it cannot be read on."""
        self.number += 1
        yield from self._strange()
        if broken is not None:
            yield problem(self.name, f"cannot be read after line {self.number - 1}: it {broken}")
        elif self.is_export:
            yield problem(
                self.name,
                "has no last line that says how many messages there are: the export was cut off after line "
                f"{self.number - 1}. What is missing is lost; export again, or get a whole copy of it.",
            )
        elif not self.has_any:
            yield problem(self.name, "is empty.")

    def _count(self, *, is_exported: bool) -> None:
        self.has_any = True
        self.exported += is_exported

    def _plain(self, name: str, body: bytes) -> Found:
        if len(body) > self.largest:
            return self._too_large(name)
        try:
            body.decode()
        except UnicodeDecodeError as error:
            return problem(name, f"is not UTF-8: byte {error.start} of the line cannot be decoded. Save it as UTF-8.")
        return message(name, body)

    def _exported(self, name: str, said: dict[str, Any]) -> Found:
        try:
            about, digest = abouts.read(said)
            body = _body(said)
        except UnfitAbout as unfit:
            return problem(name, str(unfit))
        if len(body) > self.largest:
            return self._too_large(name)
        if hashlib.sha256(body).hexdigest() != digest:
            return problem(name, "is not as it was exported: its checksum (sha256) does not fit. Export it again.")
        return message(name, body, about)

    def _ended(self, name: str, messages: Any) -> Iterator[Found]:
        if messages != self.exported:
            yield problem(
                name,
                f"says that {messages if isinstance(messages, int) else '?'} messages were exported, and "
                f"{self.exported} are there. Get a whole copy of it, or export again.",
            )
        self.exported, self.is_export = 0, False

    def _strange(self) -> Iterator[Found]:
        """The lines that are no objects, those that follow one another as one."""
        if self.strange:
            last = self.number - 1
            lines = f"lines {self.strange} to {last} are" if last > self.strange else "the line is"
            advice = "Each line is to be a whole message, in JSON. Get a whole copy of it."
            yield problem(f"{self.name}:{self.strange}", f"is no message: {lines} cut off, or no object. {advice}")
        self.strange = 0

    def _too_large(self, name: str) -> Found:
        return problem(name, f"is larger than {self.largest} bytes (max_message_bytes).")


def _body(said: dict[str, Any]) -> bytes:
    match said:
        case {"body": str(text)}:
            return text.encode()
        case {"bodyBase64": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise UnfitAbout("has a bodyBase64 that is not base64. Export it again.") from None
        case _:
            raise UnfitAbout("has neither body nor bodyBase64. Export it again.")
