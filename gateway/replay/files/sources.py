"""What is in files, message by message: directories, archives, lines, batches, single files, standard input.

What a file is, is told by how it begins, and only then by its name. Nothing is held but the item at hand: the memory
that reading takes does not grow with what is read.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from gateway.replay.files import archives
from gateway.replay.files.archives import MOST_BYTES
from gateway.replay.files.found import Found, problem
from gateway.replay.files.joining import Joining
from gateway.replay.files.streams import Broken

__all__ = ["MOST_BYTES", "Found", "read"]

STDIN = "-"
_AT_ONCE = 100_000
"""So many names of a directory are in memory; it is gone through again for the next."""
_DEEPEST = 64
_BUFFER = 64 * 1024


def read(
    paths: Sequence[str], largest: int, stdin: BinaryIO | None = None, *, most_bytes: int = MOST_BYTES
) -> Iterator[Found]:
    """One for each message in these files and directories, in their order, and one for each file that has none.

    `-` is `stdin`. `largest` is what a message may have, in bytes; `most_bytes` an archive, inflated.
    """
    for path in paths:
        if path == STDIN:
            if stdin is not None:
                yield from archives.read("stdin", stdin, largest, most_bytes)
        elif os.path.isdir(path):
            found = _Directory(os.path.realpath(path), largest, most_bytes).read(path, 0)
            yield from _or_empty(path, found)
        else:
            yield from _opened(path, partial(archives.read, path, largest=largest, most_bytes=most_bytes))


def _or_empty(path: str, found: Iterator[Found | None]) -> Iterator[Found]:
    is_empty = True
    for one in found:
        is_empty = False
        if one is not None:
            yield one
    if is_empty:
        yield problem(path, "has no files that can be seen.")


class _Directory:
    """A directory that is gone through; `root` is where it really is: what leads out of it is left alone."""

    def __init__(self, root: str, largest: int, most_bytes: int) -> None:
        self._root = root
        self._largest = largest
        self._most_bytes = most_bytes

    def read(self, path: str, depth: int) -> Iterator[Found | None]:
        """The files in the order of their names, then the directories; None for a file that has nothing to find."""
        if depth > _DEEPEST:
            yield problem(path, f"is more than {_DEEPEST} directories deep: it is not read.")
            return
        joining = Joining(self._largest)
        try:
            for name in _names(path, lambda entry: not entry.is_dir(follow_symlinks=False)):
                yield from self._file(path, name, joining)
            yield from joining.leave()
            for name in _names(path, lambda entry: entry.is_dir(follow_symlinks=False)):
                yield from self.read(os.path.join(path, name), depth + 1)
        except OSError as error:
            yield problem(path, f"cannot be read: {error.strerror or error}.")

    def _file(self, folder: str, name: str, joining: Joining) -> Iterator[Found | None]:
        path = os.path.join(folder, name)
        yield from joining.enter(os.path.join(folder, ""))
        is_link = os.path.islink(path)
        if is_link and not self._is_within(os.path.realpath(path)):
            yield problem(path, "is a link that leads out of the directory: it is not followed.")
        elif is_link and os.path.isdir(path):
            return
        elif not os.path.isfile(path):
            yield problem(path, "is no file, but a device, a link to nothing or the like: it is not read.")
        else:
            yield None
            yield from _opened(path, lambda file: self._content(path, name, file, joining))

    def _content(self, path: str, name: str, file: BinaryIO, joining: Joining) -> Iterator[Found]:
        found = archives.read_file(joining, name, file, self._largest)
        yield from found if found is not None else archives.read(path, file, self._largest, self._most_bytes)

    def _is_within(self, path: str) -> bool:
        return os.path.commonpath([self._root, path]) == self._root


def _opened(path: str, take: Callable[[BinaryIO], Iterator[Found]]) -> Iterator[Found]:
    try:
        with open(path, "rb", buffering=_BUFFER) as file:
            yield from take(file)
    except (OSError, Broken) as error:
        yield problem(path, f"cannot be read: {getattr(error, 'strerror', None) or error}.")


def _names(path: str, wanted: Callable[[os.DirEntry[str]], bool]) -> Iterator[str]:
    """The names of what is wanted of a directory, sorted, without the hidden ones."""
    last = ""
    while True:
        with os.scandir(path) as entries:
            later = (entry.name for entry in entries if entry.name > last and entry.name[0] != "." and wanted(entry))
            names = heapq.nsmallest(_AT_ONCE, later)
        yield from names
        if len(names) < _AT_ONCE:
            return
        last = names[-1]
