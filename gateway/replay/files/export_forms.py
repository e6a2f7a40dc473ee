"""The forms of an export: files side by side, in a directory or an archive; lines; a batch."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import IO, BinaryIO, Protocol

import orjson

from gateway.fhir import formats, json
from gateway.fhir.wrapping import Wrapping
from gateway.replay.files import about as abouts
from gateway.replay.files.about import MARK, VERSION, About
from gateway.replay.files.joining import SUMS

MOST_FILES = 999_999_999
MOST_IN_ZIP = 250_000
"""A zip that is written has what becomes its directory in memory: 0.8 KB for each message."""
_BUFFER = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""What a zip can say."""


class Unwritable(Exception):  # noqa: N818 - a finding
    """An export cannot be written there, or not so; the text is a sentence."""


class Put(Protocol):
    """Where files are put; `at` is the moment that they are of."""

    def file(self, name: str, content: bytes, at: datetime) -> None: ...

    def stream(self, name: str, content: IO[bytes], size: int, at: datetime) -> None: ...

    def finish(self) -> None: ...


class Files:
    """A directory, or what takes files as one does: what is known of a message, the message, the checksums."""

    def __init__(self, put: Put, opened: ExitStack, most: int = MOST_FILES) -> None:
        self._put = put
        self._most = most
        self._sums = _scratch(opened)
        self._number = 0
        self._last = datetime(1980, 1, 1, tzinfo=UTC)

    def add(self, body: bytes, about: About) -> None:
        if self._number == self._most:
            other = ", or a .tar.gz" if self._most < MOST_FILES else ""
            raise Unwritable(f"An export in this form has at most {self._most} messages. Make several{other}.")
        self._number += 1
        self._last = max(self._last, about.received_at)
        stem = f"{self._number:09}"
        digest = hashlib.sha256(body).hexdigest()
        said = abouts.written(about, digest) + b"\n"
        self._file(f"{stem}.about.json", said, hashlib.sha256(said).hexdigest(), about)
        self._file(f"{stem}.{formats.guess(body)}", body, digest, about)

    def finish(self) -> None:
        size = self._sums.tell()
        self._sums.seek(0)
        self._put.stream(SUMS, self._sums, size, self._last)
        self._put.finish()

    def _file(self, name: str, content: bytes, digest: str, about: About) -> None:
        self._put.file(name, content, about.received_at)
        self._sums.write(f"{digest}  {name}\n".encode())


class InDirectory:
    def __init__(self, path: str) -> None:
        os.mkdir(path, 0o700)
        self._path = path

    def file(self, name: str, content: bytes, _at: datetime) -> None:
        with open(os.path.join(self._path, name), "xb", buffering=0) as file:
            file.write(content)

    def stream(self, name: str, content: IO[bytes], _size: int, _at: datetime) -> None:
        with open(os.path.join(self._path, name), "xb") as file:
            shutil.copyfileobj(content, file)

    def finish(self) -> None:
        """What a crash of the machine leaves of it, does not fit the checksums."""


class InZip:
    def __init__(self, file: BinaryIO, opened: ExitStack) -> None:
        self._archive = opened.enter_context(zipfile.ZipFile(file, "w"))

    def file(self, name: str, content: bytes, at: datetime) -> None:
        self.stream(name, io.BytesIO(content), len(content), at)

    def stream(self, name: str, content: IO[bytes], size: int, at: datetime) -> None:
        info = zipfile.ZipInfo(name, max(at.timetuple()[:6], _EARLIEST))
        info.file_size, info.compress_type = size, zipfile.ZIP_DEFLATED
        with self._archive.open(info, "w") as file:
            shutil.copyfileobj(content, file)

    def finish(self) -> None:
        self._archive.close()


class InTar:
    def __init__(self, file: BinaryIO) -> None:
        self._file = gzip.GzipFile("", "wb", 6, file, mtime=0)
        self._archive = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)

    def file(self, name: str, content: bytes, at: datetime) -> None:
        self.stream(name, io.BytesIO(content), len(content), at)

    def stream(self, name: str, content: IO[bytes], size: int, at: datetime) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(at.timestamp())
        self._archive.addfile(info, content)
        self._archive.members = []  # type: ignore[attr-defined] # which would grow

    def finish(self) -> None:
        self._archive.close()
        self._file.close()


class Lines:
    """A message on each line, with what is known of it; the last line says how many there are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0

    def add(self, body: bytes, about: About) -> None:
        try:
            said = {"body": body.decode()}
        except UnicodeDecodeError:
            said = {"bodyBase64": base64.b64encode(body).decode()}
        self._file.write(abouts.written(about, hashlib.sha256(body).hexdigest(), **said) + b"\n")
        self._number += 1

    def finish(self) -> None:
        self._file.write(orjson.dumps({MARK: VERSION, "messages": self._number}) + b"\n")


class Batch:
    """A Bundle of type batch that POST /fhir takes: the messages alone, in JSON, whatever they came in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0

    def add(self, body: bytes, about: About) -> None:
        content = _in_json(body, about)
        url = f"$process-message{'?async=true' if about.later else ''}"
        begin = (
            b',\n{"resource":' if self._number else b'{"resourceType":"Bundle","type":"batch","entry":[\n{"resource":'
        )
        self._file.write(begin + content + b',"request":{"method":"POST","url":"%b"}}' % url.encode())
        self._number += 1

    def finish(self) -> None:
        self._file.write(b"\n]}\n" if self._number else b'{"resourceType":"Bundle","type":"batch"}\n')


def _in_json(body: bytes, about: About) -> bytes:
    """A message in JSON: as it came if it came so. What came by REST is the message that was made of it."""
    around = Wrapping.read(about.wrapping) if about.wrapping is not None else None
    if around is not None and around.resource is not None:
        return json.serialize(around.bundle(around.resource, "R4", about.received_at))
    form = formats.guess(body)
    resource, version = formats.parse_told(body, form, formats.version_of(about.media_type))
    if around is not None:
        return json.serialize(around.bundle(resource, version, about.received_at))
    return body.removeprefix(_BOM).strip() if form == "json" else json.serialize(resource)


def _scratch(opened: ExitStack) -> IO[bytes]:
    """A file without a name, which is gone when the export is."""
    return opened.enter_context(tempfile.TemporaryFile(buffering=_BUFFER))
