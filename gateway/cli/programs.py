"""The programs the gateway is made of, as the supervisor starts them: broker, web server, workers, sweep."""

import hashlib
import os
import shutil
import socket
import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from gateway import broker, terms
from gateway.checking import Checking
from gateway.settings import Settings, load
from gateway.supervisor import Program, Stage

# Seconds each stage is given to end; together they stay under ten.
WEB_GRACE, WORKER_GRACE, BROKER_GRACE = 4.5, 4.0, 1.0
BACKLOG = 2048
# Celery warns of root at each start, which is how containers run; a job here is a name in JSON, never a pickle.
QUIET = "ignore:You're running the worker with superuser"
# What workers, deliverer and sweep consist of, and the web server.
OF_WORKERS = ("gateway.worker", "gateway.replay.work", "gateway.replaying", "gateway.delivering", "gateway.sweeping")
OF_WEB = ("gateway.web.application", "gunicorn.app.wsgiapp")


def load_settings() -> Settings:
    """The settings in force; raises SettingsError, for profiles, policies and partners too, before any program does."""
    in_force = load()
    Checking(in_force)
    terms.load(in_force)
    return in_force


def embedded_broker(settings: Settings) -> Stage:
    def answers() -> bool:
        return broker.answers(settings.broker_socket)

    program = Program("broker", broker.prepare(settings), ready=answers, healthy=answers, check_every=2.0)
    return Stage([program], BROKER_GRACE)


def web() -> list[str]:
    """The command line of the web server, which binds its own address."""
    return [sys.executable, "-m", "gunicorn", "--config", "python:gateway.cli.gunicorn"]


def supervised_web(settings: Settings, listener: socket.socket) -> Stage:
    """The web server on a socket that the supervisor holds: while it is started again, callers wait in line."""
    command = [*web(), "--bind", f"fd://{listener.fileno()}"]
    program = Program("web", command, files=[listener.fileno()], ready=_Answers(settings), main=_serve)
    return Stage([program], WEB_GRACE)


def workers(settings: Settings, processes: int, role: str) -> Stage:
    """So many workers, each a process that carries out one job at a time, a deliverer, workers of replays, and the
    sweep that watches them.

    Their names are the same at the next start and nobody else's: those of another `role`, directory or machine differ.
    """
    place = hashlib.sha256(f"{socket.gethostname()}:{settings.var}".encode()).hexdigest()[:8]
    names = [f"{role}-{number}-{place}" for number in range(1, processes + 1)]
    deliverer = f"{role}-deliverer-{place}"
    replayers = [f"{role}-replayer-{number}-{place}" for number in range(1, settings.replay_processes + 1)]
    watch = [*(word for name in names for word in ("--watch", name)), "--watch-deliverer", deliverer]
    watch += [word for name in replayers for word in ("--watch-replayer", name)]
    sweep = Program("sweep", [sys.executable, "-m", "gateway", "sweep", *watch], main=_command)
    started = [_worker(settings, name, "gateway.worker", ",".join(settings.queue_names)) for name in names]
    started += [_worker(settings, name, "gateway.replaying") for name in replayers]
    return Stage([*started, _worker(settings, deliverer, "gateway.delivering"), sweep], WORKER_GRACE)


def _worker(settings: Settings, name: str, module: str, *words: str) -> Program:
    mark = hanging(settings, name)
    mark.unlink(missing_ok=True)
    command = [sys.executable, "-m", module, name, *words]
    main = partial(_work, module, name, *words)
    return Program(name, command, {"PYTHONWARNINGS": QUIET}, healthy=lambda: not mark.exists(), main=main)


def _work(module: str, *words: str) -> None:
    warnings.filterwarnings(*QUIET.split(":"))  # type: ignore[arg-type]
    import_module(module).work(*words)


def _command() -> None:
    import_module("gateway.cli").main(prog_name="fhir-gateway")


def _serve() -> None:
    import_module("gunicorn.app.wsgiapp").run()


def hanging(settings: Settings, name: str) -> Path:
    """The file that is there while the sweep finds that the worker takes no job though messages are due."""
    return settings.var / f"{name}.hangs"


def listener(settings: Settings) -> socket.socket:
    """A socket that listens on host and port; raises ClickException when another program does."""
    family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise click.ClickException(
            f"The gateway cannot listen on port {settings.port} of {settings.host}: {error.strerror}. "
            f"Stop the program that does, or choose another port: GATEWAY_PORT={settings.port + 1}."
        ) from None
    return bound


def make_directory(var: Path) -> None:
    """Makes the directory of all the gateway keeps, this user's alone; raises ClickException when it cannot be made."""
    try:
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(
            f"The directory {var} cannot be made: {error.strerror}. Let GATEWAY_VAR name one this user may write to."
        ) from None


def empty_metrics(settings: Settings, role: str) -> None:
    """Empties the directory in which the children leave their metrics, and tells them of it."""
    directory = settings.var / "metrics" / role
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


class _Answers:
    """Whether the web server answers: one request that waits in line until it does, asked after without waiting."""

    def __init__(self, settings: Settings) -> None:
        self._address = (settings.host, settings.port)
        self._connection: socket.socket | None = None

    def __call__(self) -> bool:
        try:
            if self._connection is None:
                self._connection = socket.create_connection(self._address, timeout=1.0)
                self._connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                self._connection.setblocking(False)
            answer = self._connection.recv(64)
        except BlockingIOError:
            return False
        except OSError:
            answer = b""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return answer.startswith(b"HTTP/1.") and b" 200 " in answer
