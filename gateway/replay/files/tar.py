"""Archives in the form of tar, read as a stream: nothing is unpacked to a disk, or kept of the files that were read."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, Self, cast

from gateway.replay.files.member import Member
from gateway.replay.files.streams import CUT_OFF, WHOLE, Broken, some

BLOCK = tarfile.BLOCKSIZE
_MOST_HEADERS = 64 * 1024
"""What the headers of one file may take, with the long names and such that come before them."""


def is_tar(head: bytes) -> bool:
    """Whether something begins as an archive does."""
    try:
        return head[257:262] == b"ustar" or bool(tarfile.TarInfo.frombuf(head, "utf-8", "replace"))
    except tarfile.HeaderError:
        return False


def members(stream: BinaryIO) -> Iterator[Member]:
    """The files of an archive. Raises Broken where it cannot be read on."""
    source = _Source(stream)
    try:
        archive = tarfile.open(  # noqa: SIM115 - nothing is to be closed
            fileobj=cast("IO[bytes]", source), mode="r|", tarinfo=_Header, encoding="utf-8", errors="replace"
        )
        while (info := archive.next()) is not None:
            source.end = archive.offset + _MOST_HEADERS
            if info.issparse():
                yield Member(info.name, problem="is a file with holes, as tar calls it. Pack it without --sparse.")
            elif info.isfile():
                yield Member(info.name, cast("BinaryIO", archive.extractfile(info)))
            elif not info.isdir():
                yield Member(info.name, problem="is a link, a device or the like, not a file: it is not followed.")
            archive.members = []  # type: ignore[attr-defined] # which would grow
            archive.pax_headers = {}
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise _corrupt(error) from None


class _Source:
    """What an archive is read from, up to `end`, where the headers of the next file are to be over."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._taken = 0
        self.end = _MOST_HEADERS

    def read(self, size: int) -> bytes:
        if self._taken > self.end:
            raise Broken(f"has a header of more than {_MOST_HEADERS} bytes: it is not read on. Pack the files again.")
        data = some(self._stream, size)
        if not data:
            raise Broken(CUT_OFF)
        self._taken += len(data)
        return data


class _Header(tarfile.TarInfo):
    """One that is not taken for the end of the archive where it is corrupt."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):
                raise
            raise _corrupt(error) from None


def _corrupt(error: Exception) -> Broken:
    return Broken(f"is corrupt: {error}. What comes after is lost. {WHOLE}")
