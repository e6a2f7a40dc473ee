"""What a worker has in hand, in a file that outlives it: so a message that kills its worker is found out."""

from __future__ import annotations

import os
from pathlib import Path

_WIDTH = 60


class InHand:
    """One worker's file. A system that crashes as a whole may forget what stood in it; a worker that dies does not."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, what: str) -> None:
        os.pwrite(self._file, what.encode().ljust(_WIDTH), 0)

    def put_down(self) -> None:
        os.pwrite(self._file, b" " * _WIDTH, 0)

    def find(self) -> str | None:
        """What the worker had in hand when it died, if it had anything."""
        return os.pread(self._file, _WIDTH, 0).decode(errors="replace").strip("\0 ") or None

    def close(self) -> None:
        os.close(self._file)
