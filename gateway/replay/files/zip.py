"""Archives in the form of zip, read as a stream: nothing is unpacked to a disk, or kept of the files that were read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import stream_unzip

from gateway.replay.files.member import BrokenMember, Member
from gateway.replay.files.streams import CUT_OFF, INFLATED_AT_ONCE, WHOLE, Allowance, Broken, buffered, drain

_NO_LENGTH = "has a file that is neither compressed, nor preceded by its length. Unpack it, and give the directory."
_ENCRYPTED = "has a file that is encrypted, or masked. Unpack it with its password, and give the directory."


def members(stream: BinaryIO, allowance: Allowance) -> Iterator[Member]:
    """The files of an archive; the directory at its end is not looked at. Raises Broken where it cannot be read on."""
    packed = allowance.taken(stream)
    try:
        for written, _, pieces in stream_unzip.stream_unzip(packed, chunk_size=INFLATED_AT_ONCE):
            name, unpacked = _name(written), buffered(_unpacked(pieces, allowance))
            if not name.endswith("/"):
                yield Member(name, unpacked)
            with suppress(BrokenMember):  # as whoever read it knows
                drain(unpacked)
    except stream_unzip.UnzipError as error:
        raise Broken(_said(error)) from None


def _unpacked(pieces: Iterator[bytes], allowance: Allowance) -> Iterator[bytes]:
    try:
        for piece in pieces:
            yield allowance.given(piece)
    except stream_unzip.IntegrityError as error:
        raise BrokenMember(_said(error)) from None
    except stream_unzip.UnzipError as error:
        raise Broken(_said(error)) from None


def _name(written: bytes) -> str:
    """Those that are not in UTF-8 are in the code page of the first PCs."""
    try:
        return written.decode()
    except UnicodeDecodeError:
        return written.decode("cp437")


def _said(error: stream_unzip.UnzipError) -> str:
    match error:
        case stream_unzip.TruncatedDataError():
            return CUT_OFF
        case stream_unzip.MissingPasswordError() | stream_unzip.UnsupportedFlagsError():
            return _ENCRYPTED
        case stream_unzip.NotStreamUnzippable():
            return _NO_LENGTH
        case stream_unzip.UnsupportedCompressionTypeError():
            return f"has a file that is compressed by method {error}, which is not read. Unpack it, or pack it again."
    return f"is corrupt ({type(error).__name__}). {WHOLE}"
