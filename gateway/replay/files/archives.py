"""The files of an archive: what each of them has, bounded in number and size; an archive within it is not opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from gateway.replay.files import contents, tar
from gateway.replay.files.found import Found, problem, shown
from gateway.replay.files.joining import ABOUT, Joining
from gateway.replay.files.member import BrokenMember, Member
from gateway.replay.files.streams import Allowance, Broken, drain, inflated, joined

MOST_BYTES = 64 * 1024**3
MOST_ENTRIES = 10_000_000
_HEAD = tar.BLOCK
_IS_GZIP = b"\x1f\x8b"
_IS_ZIP = (b"PK\3\4", b"PK\5\6")
_GZIPPED = (".gz", ".gzip")
_OF_MACOS = "__MACOSX"
_ABOUT_MORE = 1024 * 1024


def read(name: str, stream: BinaryIO, largest: int, most_bytes: int) -> Iterator[Found]:
    """What is in a file, an archive or not. A problem that ends it is the last that is found."""
    allowance = Allowance(most_bytes)
    try:
        head = stream.read(_HEAD)
        whole = joined(head, stream)
        if head.startswith(_IS_ZIP):
            from gateway.replay.files import zip  # noqa: A004 - of this package; what it is made of takes 0.1 s

            yield from _members(name, zip.members(whole, allowance), largest)
        elif tar.is_tar(head):
            yield from _members(name, tar.members(whole), largest)
        elif head.startswith(_IS_GZIP):
            yield from _gzip(name, inflated(whole, allowance), largest)
        else:
            yield from contents.read(name, whole, largest)
    except Broken as broken:
        yield problem(name, str(broken))
    except OSError as error:
        yield problem(name, f"cannot be read: {error.strerror or error}.")


def read_file(joining: Joining, base: str, stream: BinaryIO, largest: int) -> Iterator[Found] | None:
    """What is in one file of an export, which is entered already; None if it is no part of one."""
    if ABOUT.fullmatch(base):
        return joining.about(base, _bounded(stream, 2 * largest + _ABOUT_MORE))
    if joining.expects(base):
        return iter([joining.body(base, _bounded(stream, largest))])
    return joining.sums(stream) if joining.is_end(base) else None


def _bounded(stream: BinaryIO, most: int) -> bytes | None:
    content = stream.read(most + 1)
    return content if len(content) <= most else None


def _gzip(name: str, stream: BinaryIO, largest: int) -> Iterator[Found]:
    head = stream.read(_HEAD)
    whole = joined(head, stream)
    if tar.is_tar(head):
        yield from _members(name, tar.members(whole), largest)
        drain(whole)
    elif head.startswith(_IS_ZIP) or head.startswith(_IS_GZIP):
        yield problem(name, "is an archive within an archive, which is not opened. Unpack the outer one.")
    else:
        inner = name[: name.rindex(".")] if name.lower().endswith(_GZIPPED) else name
        yield from contents.read(inner, whole, largest)


def _members(name: str, members: Iterator[Member], largest: int) -> Iterator[Found]:
    joining, number, up_to = Joining(largest), 0, ""
    try:
        for number, member in enumerate(members, 1):
            if number > MOST_ENTRIES:
                raise Broken(f"holds more than {MOST_ENTRIES} files. What comes after them is not read.")
            if not _is_hidden(member.name):
                yield from _member(name, member, joining, largest)
            up_to = f" It was read up to {shown(member.name)}."
    except Broken as broken:
        yield from joining.leave()
        raise Broken(f"{broken}{up_to}") from None
    yield from joining.leave()
    if not number:
        yield problem(name, "is empty.")


def _member(archive: str, member: Member, joining: Joining, largest: int) -> Iterator[Found]:
    folder, _, base = f"{archive}/{member.name.removeprefix('./')}".rpartition("/")
    name = f"{folder}/{base}"
    yield from joining.enter(f"{folder}/")
    if member.stream is None:
        yield problem(name, member.problem or "cannot be read.")
        return
    try:
        found = read_file(joining, base, member.stream, largest)
        yield from found if found is not None else _document(name, member.stream, largest)
        drain(member.stream)
    except BrokenMember as broken:
        yield problem(name, str(broken))


def _document(name: str, stream: BinaryIO, largest: int) -> Iterator[Found]:
    head = stream.read(_HEAD)
    if head.startswith(_IS_ZIP) or tar.is_tar(head) or head.startswith(_IS_GZIP):
        yield problem(name, "is an archive within an archive, which is not opened. Unpack the outer one.")
    else:
        yield from contents.read(name, joined(head, stream), largest)


def _is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == _OF_MACOS for part in name.split("/"))
