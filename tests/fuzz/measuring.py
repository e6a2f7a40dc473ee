"""What one input may cost: processor time and memory, each a sum and so much a byte."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

SECONDS, SECONDS_A_BYTE = 0.05, 20e-6
BYTES, BYTES_A_BYTE = 4 * 1024 * 1024, 400


class TooCostlyError(AssertionError):
    """An input took more than its bound."""


def within_time(run: Callable[[bytes], object], data: bytes, allowance: float = 1.0) -> None:
    """Runs it; TooCostlyError if even the fastest of three is too slow. `allowance` is for code that is watched."""
    bound = allowance * (SECONDS + SECONDS_A_BYTE * len(data))
    seconds = _seconds(run, data)
    if seconds > bound:
        seconds = min(_seconds(run, data) for _ in range(3))
    if seconds > bound:
        raise TooCostlyError(f"{len(data)} bytes took {seconds:.3f} s, more than {bound:.3f} s")


def within_memory(run: Callable[[bytes], object], data: bytes) -> None:
    """Runs it; TooCostlyError if Python's heap grew too much in between."""
    bound = BYTES + BYTES_A_BYTE * len(data)
    tracemalloc.start()
    try:
        run(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > bound:
        raise TooCostlyError(f"{len(data)} bytes took {peak} bytes of memory, more than {bound}")


def _seconds(run: Callable[[bytes], object], data: bytes) -> float:
    began = time.process_time()
    run(data)
    return time.process_time() - began
