"""What the tests share: a PostgreSQL, a Valkey, and fresh databases on both kinds of server.

The servers start once a session (once a process under xdist), when the first test asks for them.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from tests import services, validity

if TYPE_CHECKING:
    from gateway.store.database import Database
    from tests.live import Gateway

ROOT = Path(__file__).parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"
DATABASES = ("sqlite", "postgresql")
ON_EACH_DATABASE = pytest.mark.parametrize("database_url", DATABASES, indirect=True)
"""For a test of what happens at once, where the database decides, among those that have only one."""

Flask.test_client_class = validity.JudgingClient
gc.disable()


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the collector need not look through them, now or ever again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the session's PostgreSQL; take `postgres_url` for a database of the test's own."""
    with services.postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of the session's Valkey; take `redis_url` for an empty one."""
    with services.valkey_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """An empty Valkey database, no other process's."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return services.redis_database(redis_server, 1 + int(worker.removeprefix("gw")))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database; at the end, every reply kept in it must be valid."""
    with services.postgres_database(postgres_server) as url:
        yield url
        validity.assert_outbox_valid(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> Iterator[str]:
    """An SQLite database that is not there yet; at the end, every reply kept in it must be valid."""
    with services.sqlite_database(tmp_path) as url:
        yield url
        validity.assert_outbox_valid(url)


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, on each of DATABASES in turn."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema in it, to be copied."""
    from gateway.store import database

    path = tmp_path_factory.mktemp("template") / "gateway.db"
    database.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_with_schema(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database with the schema in it, to be emptied for each test: a new one takes longer."""
    from gateway.store import database

    with services.postgres_database(postgres_server) as url:
        database.upgrade(url)
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database with the schema in it, on each of DATABASES in turn."""
    yield from fresh_database(request.param, request, tmp_path)


def fresh_database(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database with the schema in it, one of DATABASES; at the end, every reply kept in it must be valid."""
    if name == "sqlite":
        with services.sqlite_database(tmp_path, request.getfixturevalue("sqlite_template")) as url:
            yield url
            validity.assert_outbox_valid(url)
        return
    url = request.getfixturevalue("postgres_with_schema")
    services.empty(url)
    yield url
    validity.assert_outbox_valid(url)


@pytest.fixture
def database(database_url: str) -> Iterator["Database"]:
    """A way to a fresh database, on each of DATABASES in turn."""
    from gateway.store.database import Database

    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def whole_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Gateway"]:
    """A whole gateway that nobody has set anything of but how many processes it has; who shares it leaves it well."""
    from tests import live

    with live.gateway(tmp_path_factory.mktemp("whole") / "var", web_processes=1, worker_processes=1) as started:
        yield started


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of real messages, which is beside the project, not in it."""
    if not CORPUS.exists():
        pytest.skip("the corpus is not beside the project")
    return CORPUS
