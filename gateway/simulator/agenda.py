"""What is to be done, each at its time, by a few threads."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

Action = Callable[[], object]


class Agenda:
    """Actions that are due now or later. `failed` is told what an action raises; others go on."""

    def __init__(self, threads: int, failed: Callable[[Exception], object]) -> None:
        self._failed = failed
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="simulator")
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._running = 0
        self._is_open = True
        threading.Thread(target=self._watch, name="simulator-agenda", daemon=True).start()

    def at(self, seconds: float, action: Action) -> None:
        """Has it done after so many seconds. After `close` it is not."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), action))
            self._changed.notify_all()

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: True) -> bool:
        """Waits until nothing is due or being done and `until` holds; False when that takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            is_met = until()  # not within the lock: it may take one that is held by who calls `at`
            with self._changed:
                if is_met and not self._due and not self._running:
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.1))

    def close(self) -> None:
        """Ends; what has begun is finished."""
        with self._changed:
            self._is_open = False
            self._due.clear()
            self._changed.notify_all()
        self._pool.shutdown()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while self._is_open and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if not self._is_open:
                    return
                _, _, action = heapq.heappop(self._due)
                self._running += 1
                self._pool.submit(self._do, action)

    def _do(self, action: Action) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - one order's trouble is no other's
            self._failed(error)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
