"""A file within an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from gateway.replay.files.streams import Broken


@dataclass(frozen=True, slots=True)
class Member:
    """`stream` is what it says, to be read before the next one; without it, `problem` is why it is not read."""

    name: str
    stream: BinaryIO | None = None
    problem: str | None = None


class BrokenMember(Broken):
    """It cannot be read on, but perhaps the next one can."""
