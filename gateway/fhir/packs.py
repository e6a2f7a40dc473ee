"""The files that packs are in, of policies and of dialects: those that the gateway brings, and a site's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path


class PackError(Exception):
    """A pack cannot be used; each sentence says which file and place, what is wrong there, and what to write."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def find_files(shipped: Path, paths: Iterable[Path], own: Path) -> Iterator[Path]:
    """The *.toml of the directory `shipped`, then the files, and the directories' *.toml, of a site; `own` of those may
    be missing.

    One that is found twice, or is a copy of another, comes once.
    """
    seen: set[bytes] = set()
    for file in [*in_directory(shipped), *(file for path in paths for file in _in(path, own))]:
        try:
            content = file.read_bytes()
        except OSError:  # which the reader of packs finds too, and says
            content = bytes(file)
        if content not in seen:
            seen.add(content)
            yield file


def in_directory(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.toml"))


def _in(path: Path, own: Path) -> list[Path]:
    if path.is_dir():
        return in_directory(path)
    return [] if path == own and not path.exists() else [path]
