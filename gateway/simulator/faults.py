"""What a played partner does wrong, and how often: a small closed vocabulary, drawn by a seed or by a script."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

SENDING = ("late", "wrong", "twice", "out-of-order")
"""Faults of the messages that it sends."""
ANSWERING = ("late", "wrong", "garbage", "half", "drop")
"""Faults of what it answers over HTTP, beside `status-<number>`."""
VOCABULARY = (
    "late=SECONDS[,HOW OFTEN]",
    *(f"{name}=HOW OFTEN" for name in ("wrong", "twice", "out-of-order", "status-NNN", "garbage", "half", "drop")),
    "retry-after=SECONDS",
)
_STATUS = re.compile(r"status-([45][0-9][0-9])")
_SECONDS = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)s?")
_CALLS = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?")


class FaultError(ValueError):
    """A fault that cannot be played; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: with a probability, or, with `calls`, the times (counted from 1) at which it happens."""

    name: str
    seconds: float = 0.0
    probability: float = 1.0
    calls: tuple[range, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """What goes wrong this time. `status` is that of HTTP, `seconds` how late it is."""

    names: frozenset[str]
    seconds: float = 0.0
    status: int | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.names


class Faults:
    """The faults of one partner, each counted and drawn apart, so that one changes nothing about another."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._dice = {
            (side, fault): random.Random(f"{seed} {side} {fault}")
            for side in ("sending", "answering")
            for fault in self._faults
        }
        self._times: Counter[tuple[str, Fault]] = Counter()
        self._lock = threading.Lock()

    @staticmethod
    def read(written: Iterable[str], seed: int = 0) -> Faults:
        """From `late=5s,0.1`, `drop=0.05`, `status-500=@1-3` … Raises FaultError."""
        return Faults([_fault(one) for one in written], seed)

    @property
    def retry_after(self) -> float | None:
        """The seconds of the header Retry-After that the answers 429 and 503 have."""
        return next((fault.seconds for fault in self._faults if fault.name == "retry-after"), None)

    def draw_sending(self, *names: str) -> Drawn:
        """For one message that is sent: of these faults, of all without any."""
        return self._draw("sending", names or SENDING)

    def draw_answering(self) -> Drawn:
        """For one answer over HTTP."""
        return self._draw("answering", (*ANSWERING, *(one.name for one in self._faults if _STATUS.match(one.name))))

    def _draw(self, side: str, names: Iterable[str]) -> Drawn:
        wanted = set(names)
        happened = [fault for fault in self._faults if fault.name in wanted and self._happens(side, fault)]
        found = (_STATUS.fullmatch(fault.name) for fault in happened)
        return Drawn(
            frozenset(fault.name for fault in happened),
            sum(fault.seconds for fault in happened),
            next((int(match[1]) for match in found if match), None),
        )

    def _happens(self, side: str, fault: Fault) -> bool:
        with self._lock:
            self._times[side, fault] += 1
            if fault.calls:
                return any(self._times[side, fault] in calls for calls in fault.calls)
            return self._dice[side, fault].random() < fault.probability


def _fault(written: str) -> Fault:
    name, _, said = written.partition("=")
    if name == "retry-after":
        return Fault(name, seconds=_seconds(said, written))
    if name == "late":
        seconds, _, often = said.partition(",")
        return _often(Fault(name, seconds=_seconds(seconds, written)), often, written)
    if name not in (*SENDING, *ANSWERING) and not _STATUS.fullmatch(name):
        raise FaultError(f"{written!r}: there is no fault {name!r}. There are {', '.join(VOCABULARY)}.")
    return _often(Fault(name), said, written)


def _seconds(said: str, written: str) -> float:
    match = _SECONDS.fullmatch(said)
    if match is None:
        raise FaultError(f"{written!r}: write the seconds, as in late=5s or retry-after=3.")
    return float(match[1])


def _often(fault: Fault, said: str, written: str) -> Fault:
    if not said:
        return fault
    if said.startswith("@"):
        matches = [_CALLS.fullmatch(part) for part in said[1:].split("+")]
        calls = [range(int(match[1]), int(match[2] or match[1]) + 1) for match in matches if match]
        if len(calls) == len(matches):
            return Fault(fault.name, fault.seconds, calls=tuple(calls))
    elif re.fullmatch(r"(0|1|0?\.[0-9]{1,6}|1\.0+)", said):
        return Fault(fault.name, fault.seconds, float(said))
    raise FaultError(f"{written!r}: how often is a probability (0.1), or the times at which it happens (@1-3+7).")
