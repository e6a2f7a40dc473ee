"""Those who wait for the answer to a message: woken by notice, and looking for themselves in case none comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.store.inbox import Progress

LOOK_SECONDS = 0.5


class WaitingRoom:
    """One process's waiting callers, by the id of the message whose answer they wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, list[threading.Event]] = {}

    def call(self, message_id: int) -> None:
        """Wakes everyone who waits for a message."""
        with self._lock:
            called = list(self._waiting.get(message_id, ()))
        for each in called:
            each.set()

    @contextmanager
    def seat(self, message_id: int) -> Iterator[threading.Event]:
        """A place to wait in; taken before the message is put on the queue, so that no call is missed."""
        called = threading.Event()
        with self._lock:
            self._waiting.setdefault(message_id, []).append(called)
        try:
            yield called
        finally:
            with self._lock:
                self._waiting[message_id].remove(called)
                if not self._waiting[message_id]:
                    del self._waiting[message_id]


def wait_for(called: threading.Event, look: Callable[[], Progress], deadline: float) -> Progress:
    """How far the message has come when it is no longer `new`, at the deadline (`time.monotonic()`) at the latest.

    Nobody waits for a message behind one that failed: that takes too long, and there are only so many threads.
    """
    while True:
        called.wait(max(0.0, min(LOOK_SECONDS, deadline - time.monotonic())))
        called.clear()
        progress = look()
        if progress.state != "new" or progress.is_behind_failed or time.monotonic() >= deadline:
            return progress
