"""A whole gateway as its users start it, `fhir-gateway run`, on a port and a directory of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests import validity
from tests.services import eventually, free_port

START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass
class Gateway:
    """A program that was started; `url` has no slash at the end, `log` holds all that it and its children wrote."""

    url: str
    var: Path
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> httpx.Response:
        with validity.client(timeout=5) as client:
            return client.get(self.url + path)

    def is_ready(self) -> bool:
        """Whether database, broker and a worker answer."""
        try:
            return self.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> None:
        eventually(lambda: self.is_ready() or self.process.poll() is not None, START_SECONDS, pause=0.05)
        assert self.process.poll() is None, f"it ended at once:\n{self.log.read_text()}"

    def descendants(self) -> list[psutil.Process]:
        """Every process under it, but for its guard, which has its command line."""
        itself = psutil.Process(self.process.pid)
        line = itself.cmdline()
        return [process for process in itself.children(recursive=True) if process.cmdline() not in (line, [])]

    def find_child(self, word: str) -> psutil.Process | None:
        """The first child, no grandchild, with the word in its command line."""
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any(word in argument for argument in process.cmdline()):
                    return process
        return None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words]


@contextmanager
def started(words: Sequence[str], var: Path, environ: dict[str, str], port: int) -> Iterator[Gateway]:
    """A command of `fhir-gateway`, started and in the end killed if it still runs."""
    var.parent.mkdir(parents=True, exist_ok=True)
    log = var.parent / f"{var.name}-{words[0]}-{time.monotonic_ns()}.log"
    own = {"GATEWAY_PORT": str(port), "GATEWAY_VAR": str(var), **environ}
    with log.open("wb") as output:
        process = subprocess.Popen(command(*words), env=os.environ | own, stdout=output, stderr=output)
    try:
        yield Gateway(f"http://127.0.0.1:{port}", var, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running(var: Path, environ: dict[str, str] | None = None, port: int | None = None) -> Iterator[Gateway]:
    """A gateway that is ready: `fhir-gateway run`, with these settings besides port and directory.

    When it has been used, and nothing has failed, every reply that it kept must be valid.
    """
    environ = environ or {}
    with started(["run"], var, environ, port or free_port()) as gateway:
        gateway.wait_until_ready()
        yield gateway
    validity.assert_outbox_valid(environ.get("GATEWAY_DATABASE_URL", f"sqlite:///{var}/gateway.db"))
