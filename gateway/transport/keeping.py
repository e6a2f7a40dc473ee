"""Connections that are kept for the next call to the same place, with the same rights.

Each is one call's alone from when it is taken until it is given back. (The pool of httpcore may close a connection as
one that the server closed while another thread has just sent a request on it and the answer has come.)
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import httpcore

from gateway.transport.calls import NoAnswerError, seconds_left

IDLE_SECONDS = 5.0  # fewer than most servers wait: if one closes under a request, nobody knows whether it took it
_UNUSED_SECONDS = 60.0
_MOST_ORIGINS = 256


class Origin:
    """The connections to one place, `most` at a time."""

    def __init__(self, connect: Callable[[], httpcore.HTTPConnection], most: int) -> None:
        self._connect = connect
        self._most = most
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: deque[httpcore.HTTPConnection] = deque()
        self._is_closed = False
        self.calls = 0
        """Those under way; this and `used_at` are for Connections, under its lock."""
        self.used_at = 0.0

    @contextmanager
    def connection(self, deadline: float) -> Iterator[httpcore.HTTPConnection]:
        """Raises NoAnswerError, unreachable, if none becomes free in time."""
        if not self._free.acquire(timeout=seconds_left(deadline)):
            raise NoAnswerError("unreachable", f"none of {self._most} connections became free in time")
        try:
            taken = self._take()
            try:
                yield taken
            finally:
                self._give_back(taken)
        finally:
            self._free.release()

    def close(self) -> None:
        """Closes the idle ones now, the others at the end of their calls."""
        with self._lock:
            self._is_closed = True
            idle = [*self._idle]
            self._idle.clear()
        for each in idle:
            each.close()

    def _take(self) -> httpcore.HTTPConnection:
        while True:
            with self._lock:
                found = self._idle.pop() if self._idle else None
            if found is None:
                return self._connect()
            if not found.has_expired():
                return found
            found.close()

    def _give_back(self, taken: httpcore.HTTPConnection) -> None:
        over: list[httpcore.HTTPConnection] = []
        with self._lock:
            if taken.is_available() and not self._is_closed:
                self._idle.append(taken)
            else:
                over.append(taken)
            while self._idle and self._idle[0].has_expired():
                over.append(self._idle.popleft())
        for each in over:
            each.close()


class Connections:
    """The connections to each place that calls go to."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._origins: dict[Hashable, Origin] = {}

    @contextmanager
    def connection(
        self, key: Hashable, connector: Callable[[], Callable[[], httpcore.HTTPConnection]], deadline: float
    ) -> Iterator[httpcore.HTTPConnection]:
        """One for a call; `key` is the same for calls that may share, `connector` makes what connects for them."""
        origin = self._enter(key, connector)
        try:
            with origin.connection(deadline) as taken:
                yield taken
        finally:
            with self._lock:
                origin.calls -= 1
                origin.used_at = time.monotonic()

    def close(self) -> None:
        with self._lock:
            origins, self._origins = list(self._origins.values()), {}
        for each in origins:
            each.close()

    def _enter(self, key: Hashable, connector: Callable[[], Callable[[], httpcore.HTTPConnection]]) -> Origin:
        with self._lock:
            is_known = key in self._origins
        made = None if is_known else Origin(connector(), self._most)
        with self._lock:
            origin = self._origins.pop(key, None) or made or Origin(connector(), self._most)
            unused = self._take_unused()
            self._origins[key] = origin  # who was used last is last
            origin.calls += 1
        for each in unused:
            each.close()
        return origin

    def _take_unused(self) -> list[Origin]:
        """Takes out what has been of no use for long, and the longest unused of too many."""
        before = time.monotonic() - _UNUSED_SECONDS
        surplus = len(self._origins) + 1 - _MOST_ORIGINS
        unused = [(key, origin) for key, origin in self._origins.items() if not origin.calls]
        return [
            self._origins.pop(key)
            for place, (key, origin) in enumerate(unused)
            if place < surplus or origin.used_at < before
        ]
