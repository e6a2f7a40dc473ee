"""Children that are forked, not started anew: what the parent has imported they have, at once and in the same memory.

Only on Linux: elsewhere system libraries do not stand it (https://bugs.python.org/issue33725), and programs are started
by their commands.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_LINUX_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
CAN_FORK = sys.platform == "linux"
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_ARG_START, _ARG_END = 45, 46  # in /proc/self/stat, counted from what follows the name: proc_pid_stat(5)


class Forked:
    """A child in a process group of its own, with as much of the interface of subprocess.Popen as a supervisor needs.

    It does `main`, with `arguments` as its sys.argv, and then ends; `close` are files of the parent that it must not
    hold. Signals mean to it what they mean to a new program. Raises OSError when there can be no more processes.
    """

    def __init__(
        self,
        main: Callable[[], object],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        close: Sequence[int],
    ) -> None:
        def run() -> None:
            os.setpgid(0, 0)
            die_with_parent()
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            for file in close:
                os.close(file)
            os.environ.update(environment)
            sys.argv = [*arguments]
            _be_called(" ".join(arguments))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            main()

        gc.freeze()  # neither the child's collector nor its end has to look through what the parent made
        self._process = multiprocessing.get_context("fork").Process(target=run)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._process.pid or 0
        with suppress(PermissionError, ProcessLookupError):  # whichever of the two comes first
            os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        """Its exit code, as poll() tells it; there is nothing to be asked any more after this."""
        self._process.join()
        code = self._process.exitcode or 0
        self._process.close()
        return code

    def terminate(self) -> None:
        self._process.terminate()


def prepare(*modules: str) -> None:
    """Imports what the children will need, once for all of them, where they are forked."""
    if CAN_FORK:
        for module in modules:
            import_module(module)


def die_with_parent() -> None:
    """Linux kills the process when its parent ends; elsewhere a guard has to."""
    if sys.platform == "linux":
        _libc.prctl(_LINUX_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_called(title: str) -> None:
    """Has `ps` show the title in the place of the parent's command line, as far as there is room."""
    with suppress(OSError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, room = int(fields[_ARG_START]), int(fields[_ARG_END]) - int(fields[_ARG_START])
        ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)
