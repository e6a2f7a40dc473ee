"""Bytes as they come: inflated, bounded, joined. A stream that goes wrong raises Broken, whenever it is read on."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WHOLE = "Get a whole copy of it."
CUT_OFF = f"is cut off. What is missing is lost. {WHOLE}"
_PIECE = 64 * 1024
INFLATED_AT_ONCE = 8 * 1024
"""What is inflated together with what is corrupt is lost with it."""
_TAKEN_AT_ONCE = 16 * 1024
_MOST_RATIO = 400
"""How much more may come out than went in; of messages that are all alike it is about 100, of zeros 1,000."""
_FREE = 64 * 1024 * 1024
"""So much may come out of anything."""


class Broken(Exception):  # noqa: N818 - a finding
    """What cannot be read on; the text goes after the name: "is cut off: …"."""


@dataclass(slots=True)
class Allowance:
    """How much may come out of one file, all that is compressed in it together; `most` in all."""

    most: int
    _taken: int = 0
    _given: int = 0

    def taken(self, stream: BinaryIO) -> Iterator[bytes]:
        """What goes in."""
        while piece := stream.read(_TAKEN_AT_ONCE):
            self._taken += len(piece)
            yield piece

    def given(self, data: bytes) -> bytes:
        """What comes out. Raises Broken where it is too much."""
        self._given += len(data)
        if self._given > self.most:
            raise Broken(
                f"holds more than {self.most} bytes once it is inflated. What comes after them is not read: "
                "give it in several parts."
            )
        if self._given > max(_FREE, self._taken * _MOST_RATIO):
            raise Broken(f"becomes more than {_MOST_RATIO} times as large when it is inflated: it is not read on.")
        return data


class Pieced(io.RawIOBase):
    """A stream of what comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._broken: Broken | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if self._broken is not None:
            raise self._broken
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except Broken as broken:
            self._broken = broken
            raise
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def inflated(stream: BinaryIO, allowance: Allowance) -> BinaryIO:
    """What a gzip says, which may have any number of members."""
    return buffered(_inflated(buffered(allowance.taken(stream)), allowance))


def _inflated(packed: BinaryIO, allowance: Allowance) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as file:
        try:
            while data := file.read1(INFLATED_AT_ONCE):
                yield allowance.given(data)
        except EOFError:
            raise Broken(CUT_OFF) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise Broken(f"is corrupt: {error}. What comes after is lost. {WHOLE}") from None


def joined(head: bytes, rest: BinaryIO) -> BinaryIO:
    """What was read of a stream already, and then the rest of it."""
    return buffered(chain([head], pieces(rest)))


def begin(stream: BinaryIO, most: int) -> tuple[bytes, Broken | None]:
    """The first bytes, and why there are not more of them if that is a fault."""
    held = io.BytesIO()  # whose value is no copy
    try:
        while most and (piece := some(stream, most)):
            most -= held.write(piece)
    except Broken as broken:
        return held.getvalue(), broken
    return held.getvalue(), None


def some(stream: BinaryIO, most: int) -> bytes:
    """At least one byte, unless there is none: what is there already is not lost where the next byte is Broken."""
    data: bytes = getattr(stream, "read1", stream.read)(most)
    return data


def buffered(pieces: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(Pieced(pieces), _PIECE)


def drain(stream: BinaryIO) -> None:
    """Reads on for nothing: what is wrong may be known only at the end."""
    while stream.read(_PIECE):
        pass


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := some(stream, _PIECE):
        yield piece
