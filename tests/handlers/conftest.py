"""A gateway for the tests of handlers, which know of no database: on SQLite, unless a test is for ON_EACH_DATABASE."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.handlers import Gateway


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database with the schema in it; what a handler asks of PostgreSQL the journeys ask too, in `flows`."""
    yield from fresh_database(getattr(request, "param", "sqlite"), request, tmp_path)


@pytest.fixture
def gateway(database_url: str) -> Iterator[Gateway]:
    opened = Gateway(database_url)
    yield opened
    opened.close()
