"""A body too large for memory: written into a temporary file as it comes, bounded, and leaving the disk room."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flask import request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import ClientDisconnected

from gateway.web.administration_answers import ProblemError

MOST_BYTES = 4 * 1024**3
MOST_INFLATED = 16 * 1024**3
"""Of an archive, unpacked."""
LEAST_FREE = 1024**3
"""Bytes that are left free on the disk, for the gateway itself."""
_PIECE = 256 * 1024
_LOOK = 64 * 1024 * 1024
_one_at_a_time = threading.Lock()


@contextmanager
def spooled(directory: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The body of the current request as a file without a name, and its SHA-256 in hex; gone when this is left.

    A process takes one at a time. Raises ProblemError: 400 it is empty or breaks off, 408 nothing comes any more, 413
    it is too large, 503 another is on its way, 507 the disk has no room for it.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise ProblemError(503, "Files of another replay are being read. Send these when that is over.")
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            digest = _spool(file, directory)
            file.seek(0)
            yield file, digest
    finally:
        _one_at_a_time.release()


def _spool(file: BinaryIO, directory: Path) -> str:
    length = request.content_length
    _check(directory, length or 0, length or 0)
    told, size, looked = hashlib.sha256(), 0, 0
    while piece := _read():
        size += len(piece)
        if size - looked > _LOOK or size > MOST_BYTES:
            _check(directory, size, 0)
            looked = size
        told.update(piece)
        try:
            file.write(piece)
        except OSError as error:
            raise ProblemError(507, f"The body cannot be kept: {error.strerror}. Have room made for it.") from None
    if length is not None and size < length:
        raise ProblemError(400, f"The body breaks off after {size} of {length} bytes. Send all of it.")
    if not size:
        raise ProblemError(400, "The body is empty. Send messages, or say by JSON which of those here are meant.")
    return told.hexdigest()


def _read() -> bytes:
    try:
        return request.stream.read(_PIECE)
    except TimeoutError:
        raise ProblemError(408, "The body does not come any more. Send it again, over a faster connection.") from None
    except (OSError, ParseException, ClientDisconnected):
        raise ProblemError(400, "The body breaks off, or is not in chunks as HTTP has them. Send all of it.") from None


def _check(directory: Path, size: int, to_come: int) -> None:
    if size > MOST_BYTES:
        text = f"The body is larger than the {MOST_BYTES} bytes that are taken here. Send it in parts, or compressed."
        raise ProblemError(413, f"{text} By command, files of any size are replayed: fhir-gateway replay.")
    if shutil.disk_usage(directory).free - to_come < LEAST_FREE:
        text = f"The disk has no room for it: {LEAST_FREE} bytes have to stay free there. Have room made."
        raise ProblemError(507, text)
