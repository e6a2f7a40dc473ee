"""SQLite has one writer at a time, and whoever finds it busy sleeps and tries again, unfairly.

So writers queue for their turn on a file lock instead, within a process and between processes; and the threads of one
process that wait at the same time have their work done in one transaction.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import sqlalchemy as sa

from gateway.store.statements import execute

T = TypeVar("T")


class Turn:
    """A lock between threads and processes, held by an open file: the system frees it when its holder dies."""

    def __init__(self, path: str) -> None:
        self._threads = threading.Lock()
        self._path = path
        self._file = -1

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


class _Wish(Generic[T]):
    """Work to be done in a transaction, and what came of it."""

    def __init__(self, work: Callable[[sa.Connection], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self.error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return bool(self._results) or self.error is not None

    def grant(self, connection: sa.Connection) -> None:
        """Does the work; raises what it raises."""
        self._results.append(self._work(connection))

    def grant_among_others(self, connection: sa.Connection) -> None:
        """Does the work so that its failure undoes nothing but itself."""
        execute(connection, "SAVEPOINT wish").close()
        try:
            self.grant(connection)
        except Exception as error:  # noqa: BLE001 - it is raised where the wish was made
            self.error = error
            execute(connection, "ROLLBACK TO wish").close()
        execute(connection, "RELEASE wish").close()

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self._results[0]


class Together:
    """Does what the threads of a process wish at the same time in one transaction of the thread that comes first."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._transaction = transaction
        self._first = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[_Wish[object]] = []

    def attempt(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns once its transaction is committed. Raises what it raises, or what undid all of it."""
        wish = _Wish(work)
        with self._door:
            self._waiting.append(wish)  # type: ignore[arg-type]
        with self._first:
            if not wish.is_settled:
                self._grant_all()
        return wish.outcome()

    def _grant_all(self) -> None:
        wishes: list[_Wish[object]] = []
        try:
            with self._transaction() as connection:
                wishes = self._take_waiting()
                for wish in wishes:
                    (wish.grant if len(wishes) == 1 else wish.grant_among_others)(connection)
        except BaseException as error:  # noqa: BLE001 - it is raised where each wish was made
            for wish in wishes or self._take_waiting():
                wish.error = error

    def _take_waiting(self) -> list[_Wish[object]]:
        with self._door:
            wishes, self._waiting = self._waiting, []
        return wishes
