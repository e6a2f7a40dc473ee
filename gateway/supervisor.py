"""One process that keeps others running: starts them in order, restarts what ends or hangs, stops them in reverse.

No child outlives the supervisor. On SIGTERM, SIGINT and SIGHUP it stops them; when it is itself killed, Linux kills its
children, and on every system a guard, a second process that waits at the end of a pipe, kills their process groups.
"""

import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import structlog

from gateway.forking import CAN_FORK, Forked, die_with_parent

LIVED = 2.0  # a child that ends sooner than this after its start is started again later and later
FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
SICK_AFTER = 3  # failed checks of health in a row
PAUSE, PAUSE_WHILE_STARTING = 1.0, 0.02

log = structlog.get_logger(__name__)


class AlreadyRunning(Exception):  # noqa: N818 - a state of the world, and its sentence
    """Another process holds the lock."""


@dataclass(frozen=True)
class Program:
    """What is to be kept running: `main` in a fork, where that can be, and else the command that does the same.

    `ready` says whether it has started up; `healthy` returns False when it lives but hangs, and is to be killed and
    started again; it is asked every `check_every` seconds. Both are asked in the supervisor's one thread: be quick.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[int] = ()
    ready: Callable[[], bool] | None = None
    healthy: Callable[[], bool] | None = None
    check_every: float = 5.0
    main: Callable[[], object] | None = None


@dataclass(frozen=True)
class Stage:
    """Programs that start together, once those of the stage before are ready, and stop together within `grace` s."""

    programs: Sequence[Program]
    grace: float


class Supervisor:
    """Keeps the programs of all stages running until a signal ends it."""

    def __init__(self, stages: Sequence[Stage], announce: Callable[[], None] = lambda: None) -> None:
        self._stages = [([_Child(program) for program in stage.programs], stage.grace) for stage in stages]
        self._running: list[_Child] = []
        self._announce = announce
        self._signals: list[int] = []

    def run(self) -> int:
        """Returns 0 once a signal has come and all children have ended."""
        with _wakened_by_signals(self._signals) as wake, _Guard() as guard:
            for children, _ in self._stages:
                for child in children:
                    child.start(guard)
                self._running.extend(children)
                self._supervise(wake, guard, PAUSE_WHILE_STARTING, until=_all_ready(children))
                if self._signals:
                    break
            else:
                self._announce()
                self._supervise(wake, guard, PAUSE, until=lambda: False)
            self._stop(wake, guard)
        return 0

    def _supervise(self, wake: int, guard: "_Guard", pause: float, until: Callable[[], bool]) -> None:
        while not self._signals and not until():
            for child in self._running:
                child.look(guard)
            _sleep(wake, min(pause, *(child.seconds_to_next_look() for child in self._running)))

    def _stop(self, wake: int, guard: "_Guard") -> None:
        for children, grace in reversed(self._stages):
            for child in children:
                child.terminate()
            deadline = time.monotonic() + grace
            while any(child.alive() for child in children) and time.monotonic() < deadline and len(self._signals) < 2:
                _sleep(wake, min(0.1, deadline - time.monotonic()))
            for child in children:
                child.kill(guard)


class _Child:
    """A program, its process while it has one, and when it is next to be started or looked at."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._started = self._start_at = self._check_at = 0.0
        self._early_ends = self._sick = 0

    def start(self, guard: "_Guard") -> None:
        self._started = time.monotonic()
        self._check_at, self._sick = self._started + self.program.check_every, 0
        try:
            self._process = _started(self.program, guard)
        except OSError as error:
            self._start_later("cannot be started, and is tried again", str(error))
        else:
            guard.watch(self._process.pid)

    def look(self, guard: "_Guard") -> None:
        """Starts the program again if it has ended and its time has come, and kills it if it hangs."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self.start(guard)
        elif (code := self._process.poll()) is not None:
            self.kill(guard)
            self._start_later("ended, and is started again", _how(code))
        elif self.program.healthy is not None and now >= self._check_at:
            self._check(self.program.healthy)

    def seconds_to_next_look(self) -> float:
        if self._process is None:
            return self._start_at - time.monotonic()
        return self._check_at - time.monotonic() if self.program.healthy else PAUSE

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self, guard: "_Guard") -> None:
        """Ends what is left of the program, and of what it started."""
        if self._process is None:
            return
        if self.alive():
            log.warning("killed, for it did not stop in time", program=self.program.name)
        _kill_group(self._process.pid)
        self._process.wait()
        guard.forget(self._process.pid)
        self._process = None

    def _start_later(self, event: str, why: str) -> None:
        lived = time.monotonic() - self._started
        self._early_ends = self._early_ends + 1 if lived < LIVED else 0
        delay = min(FIRST_DELAY * 2**self._early_ends, LONGEST_DELAY)
        self._start_at = time.monotonic() + delay
        log.warning(event, program=self.program.name, why=why, after_seconds=delay)

    def _check(self, healthy: Callable[[], bool]) -> None:
        self._check_at = time.monotonic() + self.program.check_every
        self._sick = 0 if _sound(healthy) else self._sick + 1
        if self._sick >= SICK_AFTER and self._process is not None:
            log.error("lives but does nothing, and is killed", program=self.program.name)
            _kill_group(self._process.pid)


def _started(program: Program, guard: "_Guard") -> subprocess.Popen[bytes] | Forked:
    if CAN_FORK and program.main is not None:
        return Forked(program.main, program.command[2:], program.environment, guard.files)
    return subprocess.Popen(
        program.command,
        env={**os.environ, **program.environment},
        pass_fds=program.files,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


class _Guard:
    """A process that, when the supervisor is killed, kills the process groups it was told of; then it ends as well.

    It learns of the death by the end of a pipe that only the supervisor writes to. Because it holds the supervisor's
    open files too, a lock among them is free only when no child is left.
    """

    def __enter__(self) -> "_Guard":
        told, self._tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _guard(told, self._tell)
            finally:
                os._exit(0)
        os.close(told)
        return self

    @property
    def files(self) -> Sequence[int]:
        """What nobody but the supervisor may hold."""
        return [self._tell]

    def __exit__(self, *_: object) -> None:
        os.close(self._tell)
        os.waitpid(self._pid, 0)

    def watch(self, pid: int) -> None:
        self._say(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        self._say(f"-{pid}\n")

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed the guard: go on without it
            os.write(self._tell, line.encode())


def _guard(told: int, tell: int) -> None:
    os.close(tell)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pids: set[int] = set()
    with os.fdopen(told) as lines:
        for line in lines:
            (pids.add if line[0] == "+" else pids.discard)(int(line[1:]))
    for pid in pids:
        _kill_group(pid)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers PermissionError for a group of zombies
        os.killpg(pid, signal.SIGKILL)


def _all_ready(children: Sequence[_Child]) -> Callable[[], bool]:
    checks = [child.program.ready for child in children if child.program.ready is not None]
    return lambda: all(check() for check in checks)


def _sound(healthy: Callable[[], bool]) -> bool:
    """What the check says; one that fails itself says nothing, and must not end the supervisor."""
    try:
        return healthy()
    except Exception:
        log.exception("a check of health failed")
        return True


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def _wakened_by_signals(received: list[int]) -> Iterator[int]:
    """Collects the signals that mean "stop"; yields a file that can be read after any signal, SIGCHLD too."""
    wake, wakes = os.pipe()
    for end in (wake, wakes):
        os.set_blocking(end, False)
    stopping = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        stopping.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in stopping}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    previous = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake)
        os.close(wakes)


def _sleep(wake: int, seconds: float) -> None:
    """Sleeps for a time, or until a signal comes."""
    if select.select([wake], [], [], max(0.0, seconds))[0]:
        with suppress(BlockingIOError):
            while os.read(wake, 512):
                pass


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Holds a lock on the file; raises AlreadyRunning, with the holder's process id as its text, if another has it."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(_content(file)) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _content(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip()
