"""An export in a folder or an archive: each message joined to what is said of it, and nothing missing at the end."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from gateway.replay.files import about as abouts
from gateway.replay.files.about import About, UnfitAbout
from gateway.replay.files.found import Found, message, problem

SUMS = "SHA256SUMS"
ABOUT = re.compile(r"([0-9]{9})\.about\.json")
BODY = re.compile(r"([0-9]{9})\.(?:json|xml)")
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([0-9]{9}\.(?:about\.json|json|xml))")
_LONGEST_LINE = 200
_MOST_NAMED = 100
_IN_MEMORY = 1024 * 1024
_AGAIN = "Export again, or get a whole copy of it; if it is an archive that was packed anew, unpack it first."


class Joining:
    """What is found in one folder after another, in the order of the names.

    The checksums of what is found are kept in a temporary file, to be held against those of the export at its end.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._folder: str | None = None
        self._about: tuple[str, About, str] | None = None
        self._is_export = False
        self._found: tempfile.SpooledTemporaryFile[bytes] | None = None

    def enter(self, folder: str) -> Iterator[Found]:
        """To be called with the folder of each file (`day.zip/orders/`), before it is read."""
        if folder != self._folder:
            yield from self.leave()
            self._folder = folder

    def leave(self) -> Iterator[Found]:
        """What is missing of the export in the folder, if it has one."""
        yield from self._alone()
        if self._is_export:
            text = f"is missing: the export was cut off, or is not all here. {_AGAIN}"
            yield problem(f"{self._folder}{SUMS}", text)
        self._end()

    def about(self, base: str, content: bytes | None) -> Iterator[Found]:
        """Takes what is said of a message, before the message itself; None where it is too large to be read."""
        yield from self._alone()
        name = f"{self._folder}{base}"
        said = abouts.parse(content) if content is not None else None
        self._note(base, content)
        if said is None:
            yield problem(name, f"does not say what an export says of a message. {_AGAIN}")
            return
        try:
            about, digest = abouts.read(said)
        except UnfitAbout as unfit:
            yield problem(name, str(unfit))
        else:
            self._about = (base.partition(".")[0], about, digest)

    def expects(self, base: str) -> bool:
        """Whether a file is one of the messages of the export."""
        return self._is_export and BODY.fullmatch(base) is not None

    def body(self, base: str, content: bytes | None) -> Found:
        """A message of the export; None where it is too large to be read."""
        name = f"{self._folder}{base}"
        number = base.partition(".")[0]
        self._note(base, content)
        if self._about is None or self._about[0] != number:
            return problem(name, f"has no {number}.about.json that can be read before it, as an export has. {_AGAIN}")
        _, about, digest = self._about
        self._about = None
        if content is None:
            return problem(name, f"is larger than {self._largest} bytes (max_message_bytes).")
        if hashlib.sha256(content).hexdigest() != digest:
            return problem(name, "is not as it was exported: its checksum (sha256) does not fit. Export it again.")
        return message(name, content, about)

    def is_end(self, base: str) -> bool:
        return base == SUMS

    def sums(self, stream: BinaryIO) -> Iterator[Found]:
        """Holds what was found against the list at the end of the export."""
        yield from self._alone()
        left = _MOST_NAMED
        for base, text in self._differences(stream):
            left -= 1
            if left >= 0:
                yield problem(f"{self._folder}{base}", text)
        if left < 0:
            yield problem(f"{self._folder}{SUMS}", f"lists {-left} files more that are not as they were exported.")
        self._end()

    def _differences(self, stream: BinaryIO) -> Iterator[tuple[str, str]]:
        listed, found = _listed(stream), self._noted()
        wanted, have = next(listed, None), next(found, None)
        while wanted is not None or have is not None:
            if have is None or (wanted is not None and wanted[0] < have[0]):
                assert wanted is not None
                yield wanted[0], f"is missing; {SUMS} lists it. {_AGAIN}"
                wanted = next(listed, None)
            elif wanted is None or have[0] < wanted[0]:
                yield have[0], f"is not in {SUMS}, though it looks like a part of the export. {_AGAIN}"
                have = next(found, None)
            else:
                if ABOUT.fullmatch(have[0]) and have[1] != wanted[1]:
                    yield have[0], "is not as it was exported: its checksum (sha256) does not fit. Export it again."
                wanted, have = next(listed, None), next(found, None)

    def _alone(self) -> Iterator[Found]:
        if self._about is not None:
            number, _, _ = self._about
            text = f"is missing, though {number}.about.json is there, which is to come before it. {_AGAIN}"
            yield problem(f"{self._folder}{number}.json, or .xml,", text)
        self._about = None

    def _note(self, base: str, content: bytes | None) -> None:
        self._is_export = True
        if self._found is None:
            self._found = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `_end`
        digest = hashlib.sha256(content).hexdigest() if content is not None else "-"
        self._found.write(f"{digest} {base}\n".encode())

    def _noted(self) -> Iterator[tuple[str, str]]:
        if self._found is None:
            return
        self._found.seek(0)
        for line in self._found:
            digest, base = line.decode().split()
            yield base, digest

    def _end(self) -> None:
        if self._found is not None:
            self._found.close()
        self._found, self._about, self._is_export = None, None, False


def _listed(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    """The names in a list of checksums, and those; what else it lists is no part of an export."""
    while line := stream.readline(_LONGEST_LINE):
        if found := _LINE.fullmatch(line.decode("utf-8", "replace").rstrip("\r\n")):
            yield found[2], found[1]
