"""Exports: messages with their exact bytes, what is known beside them, and checksums; read again by `sources`.

An export is written under another name (`.NAME.part-…`) and has its own only once it is whole.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Protocol

from gateway.replay.files.about import About
from gateway.replay.files.export_forms import MOST_IN_ZIP, Batch, Files, InDirectory, InTar, InZip, Lines, Unwritable
from gateway.replay.files.joining import ABOUT, BODY, SUMS

__all__ = ["Export", "Unwritable", "export", "form_of"]

_BUFFER = 1024 * 1024
_SUFFIX = re.compile(r"\.(?:zip|tar\.gz|tgz|ndjson|jsonl|json|xml|gz|tar)$", re.IGNORECASE)


class Export(Protocol):
    """What is written to, message by message."""

    def add(self, body: bytes, about: About) -> None:
        """Raises Refused for a message that the form cannot hold: nothing of it is written, others may follow."""

    def finish(self) -> None: ...


@contextmanager
def export(target: str, stdout: BinaryIO | None = None, *, overwrite: bool = False) -> Iterator[Export]:
    """An export in the form that the name of `target` says; `-` is `stdout`, in lines. It is there once this is left.

    Raises Unwritable if the target is there already and not to be overwritten, or in no form that there is; OSError.
    """
    form = form_of(target)
    if target == "-":
        assert stdout is not None
        lines = Lines(stdout)
        yield lines
        lines.finish()
        stdout.flush()
        return
    _refuse_existing(target, overwrite=overwrite)
    part = _beside(target, "part")
    try:
        with ExitStack() as opened:
            written = _OPENED[form](part, opened)
            yield written
            written.finish()
        _refuse_existing(target, overwrite=overwrite)
        _put_in_place(part, target)
    finally:
        _remove(part)


def form_of(target: str) -> str:
    """The form that a name asks for: `directory` for one without a suffix. Raises Unwritable."""
    found = _SUFFIX.search(target)
    suffix = found[0].lower().lstrip(".") if found else "directory"
    form = {"tgz": "tar.gz", "jsonl": "ndjson"}.get(suffix, suffix)
    if target == "-":
        return "ndjson"
    if form not in _OPENED:
        raise Unwritable(
            f"{target}: nothing is exported as .{suffix}. Use .zip, .tar.gz, .ndjson, .json (a batch), or a directory."
        )
    return form


def _file(path: str, opened: ExitStack) -> BinaryIO:
    def synced() -> None:
        file.flush()
        os.fsync(file.fileno())

    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    file = opened.enter_context(os.fdopen(descriptor, "wb", _BUFFER))
    opened.callback(synced)
    return file


_OPENED: Mapping[str, Callable[[str, ExitStack], Export]] = {
    "zip": lambda part, opened: Files(InZip(_file(part, opened), opened), opened, MOST_IN_ZIP),
    "tar.gz": lambda part, opened: Files(InTar(_file(part, opened)), opened),
    "ndjson": lambda part, opened: Lines(_file(part, opened)),
    "json": lambda part, opened: Batch(_file(part, opened)),
    "directory": lambda part, opened: Files(InDirectory(part), opened),
}


def _beside(target: str, word: str) -> str:
    """Another name in the same directory, hidden, that nothing else has."""
    folder, base = os.path.split(target.rstrip(os.sep))
    return os.path.join(folder, f".{base}.{word}-{secrets.token_hex(4)}")


def _refuse_existing(target: str, *, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise Unwritable(f"{target} is there already. Name another, or say that it is to be overwritten.")
    is_directory = os.path.isdir(target) and not os.path.islink(target)
    if is_directory != (form_of(target) == "directory"):
        raise Unwritable(f"{target} is there already, and is no export that can be overwritten. Name another.")
    if is_directory:
        with os.scandir(target) as entries:
            strange = next((entry.name for entry in entries if not _is_ours(entry)), None)
        if strange is not None:
            raise Unwritable(f"{target} has {strange}, which is no part of an export: it is not overwritten.")


def _is_ours(entry: os.DirEntry[str]) -> bool:
    is_named = entry.name == SUMS or ABOUT.fullmatch(entry.name) or BODY.fullmatch(entry.name)
    return bool(is_named) and entry.is_file(follow_symlinks=False)


def _put_in_place(part: str, target: str) -> None:
    target = target.rstrip(os.sep)
    if not os.path.isdir(target):
        os.replace(part, target)
        return
    old = _beside(target, "old")
    os.rename(target, old)
    os.rename(part, target)
    _remove(old)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
