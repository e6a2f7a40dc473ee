"""The real gateway as child processes, over real sockets: started, waited for, killed, started again, asked.

with live.gateway(tmp_path, database_url=url, redis_url=redis_url) as gateway:  # `web` and `worker`
    answer = gateway.post(body, FHIR_JSON, query={"async": "true"})             # httpx.Response
    gateway.kill("worker")                                                      # -9; started again by itself

with live.gateway(tmp_path, worker_processes=1) as gateway:                     # `run`: broker and SQLite too
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import httpx
import orjson
import psutil

from tests import services, validity
from tests.services import eventually, free_port

ROOT = Path(__file__).parent.parent
FHIR_JSON, FHIR_XML = "application/fhir+json", "application/fhir+xml"
TRIAL_HANDLERS = ("handlers", "tests.trial_handlers")
GRACE = 12.0

Kind = Literal["web", "web-worker", "worker", "deliverer", "replayer", "sweep", "broker", "supervisor"]
# A part of the command line that tells each kind of process, the first that fits.
_KINDS: Mapping[str, Kind] = {
    "valkey-server": "broker",
    "gunicorn": "web",
    "gateway.worker": "worker",
    "gateway.delivering": "deliverer",
    "gateway.replaying": "replayer",
    "gateway sweep": "sweep",
    "gateway run": "supervisor",
    "gateway worker": "supervisor",
    "gateway web": "web",
}
_AT_WORK = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)


class Gateway:
    """A gateway in a directory, which is its `GATEWAY_VAR`; `programs` are the commands it consists of."""

    def __init__(self, directory: Path, programs: Sequence[str], settings: Mapping[str, Any]) -> None:
        self.var = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.endpoint = f"{self.url}/fhir/$process-message"
        self.log = directory / "programs.log"
        self._programs = programs
        self._settings = {"port": self.port, "var": str(directory), "log_level": "WARNING", **settings}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._client = validity.client(base_url=self.url, timeout=60)

    # --- asking ------------------------------------------------------------------------------------------------------

    def post(
        self,
        body: bytes,
        content_type: str = FHIR_JSON,
        *,
        query: Mapping[str, str] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Posts to `$process-message`; a header is written with underscores: `X_Request_Id="7"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Type"] = content_type
        return self._client.post(self.endpoint, content=body, params=query, headers=named)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return self._client.get("/readyz", timeout=5).status_code == httpx.codes.OK
        return False

    # --- starting, stopping, killing ---------------------------------------------------------------------------------

    def start(self, *programs: str, wait: bool = True) -> None:
        """Starts programs (all of them by default), and waits until /readyz says 200."""
        for name in programs or self._programs:
            self._processes[name] = self._start(name)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        def ready_or_ended() -> bool:
            return self.is_ready() or any(process.poll() is not None for process in self._processes.values())

        eventually(ready_or_ended, pause=0.05)
        ended = [name for name, process in self._processes.items() if process.poll() is not None]
        assert not ended, f"{' and '.join(ended)} ended at once:\n{self.last_lines()}"

    def start_if_possible(self, name: str) -> bool:
        """Starts a program, without waiting until it is ready; False when it ends within a moment."""
        self._processes[name] = self._start(name)
        with suppress(subprocess.TimeoutExpired):
            self._processes[name].wait(1)
            return False
        return True

    def stop(self, *programs: str) -> None:
        """Asks programs (all of them by default) to end, and waits; what has not ended in time is killed."""
        names = [name for name in programs or tuple(reversed(self._programs)) if name in self._processes]
        for name in names:
            self._processes[name].terminate()
        for name in names:
            process = self._processes.pop(name)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            _kill_group(process)

    def kill_program(self, name: str) -> None:
        """Kills a program with all its processes at once; `start` starts it again."""
        _kill_group(self._processes.pop(name))

    def processes(self, kind: Kind) -> list[psutil.Process]:
        """The living processes of a kind, in the order they were started."""
        found = []
        for program in list(self._processes.values()):
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(program.pid)
                found += [process for process in (root, *root.children(recursive=True)) if _kind(process) == kind]
        return sorted(found, key=lambda process: process.create_time())

    def kill(self, kind: Kind, at_work_within: float = 0.0) -> int | None:
        """Kills (-9) one process of a kind, chosen at random; None when none lives just now.

        In the middle of its work, if it is seen at work within so many seconds.
        """
        alive = self.processes(kind)
        if not alive:
            return None
        victim = random.choice(alive)
        with suppress(psutil.NoSuchProcess):
            deadline = time.monotonic() + at_work_within
            while victim.status() not in _AT_WORK and time.monotonic() < deadline:
                time.sleep(0.0005)
            victim.kill()
        return int(victim.pid)

    def last_lines(self, count: int = 60) -> str:
        """The end of what the programs wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""

    def command(self, *words: str, **popen: Any) -> subprocess.Popen[bytes]:
        """A command of `fhir-gateway` beside the gateway, with its settings: a child that the caller waits for."""
        return subprocess.Popen([sys.executable, "-m", "gateway", *words], cwd=ROOT, env=self._environment, **popen)

    def close(self) -> None:
        self._client.close()  # first: a web server that stops waits for connections that are kept
        self.stop()

    @property
    def _environment(self) -> dict[str, str]:
        own = {f"GATEWAY_{setting.upper()}": _written(value) for setting, value in self._settings.items()}
        return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | own

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return self.command(*name.split(), stdout=log, stderr=log, start_new_session=True)


@contextmanager
def database(name: str, directory: Path) -> Iterator[str]:
    """The URL of an empty database, "sqlite" in the directory or "postgresql" on a server that syncs to the disk."""
    if name == "sqlite":
        with services.sqlite_database(directory) as url:
            yield url
    else:
        with services.postgres_server(durable=True) as server, services.postgres_database(server) as url:
            yield url


@contextmanager
def gateway(
    directory: Path, *, database_url: str | None = None, redis_url: str | None = None, **settings: Any
) -> Iterator[Gateway]:
    """A gateway that is ready, for as long as the block.

    With a `redis_url`: the programs `web` and `worker`, on a database that has its schema. Without: `run`, the whole
    under its supervisor with its own broker, SQLite unless a `database_url` is given. `settings` are the gateway's, by
    name. When the block fails, the end of the programs' log is printed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    named = {"database_url": database_url, "redis_url": redis_url}
    programs = ("run",) if redis_url is None else ("worker", "web")
    started = Gateway(directory, programs, {k: v for k, v in named.items() if v is not None} | settings)
    try:
        started.start()
        yield started
        started.close()
        if database_url is None:
            validity.assert_outbox_valid(f"sqlite:///{directory}/gateway.db")
    except BaseException:
        print(f"--- the gateway's log, {started.log} ---\n{started.last_lines()}", file=sys.stderr)
        raise
    finally:
        started.close()


def _kind(process: psutil.Process) -> Kind | None:
    try:
        line = " ".join(process.cmdline())
        kind = next((kind for part, kind in _KINDS.items() if part in line), None)
        parent = process.parent() if kind in ("web", "supervisor") else None
        if parent is not None and parent.cmdline() == process.cmdline():  # forked, and the same program ever since
            return "web-worker" if kind == "web" else None  # the supervisor's fork is its guard
    except psutil.Error:
        return None
    return kind


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _written(value: Any) -> str:
    """A setting's value as the environment writes it."""
    match value:
        case str():
            return value
        case Mapping():
            return "{ " + ", ".join(f"{_quoted(key)} = {_quoted(item)}" for key, item in value.items()) + " }"
        case _:
            return orjson.dumps(value).decode()


def _quoted(value: Any) -> str:
    return orjson.dumps(value).decode()
