"""A gateway for the tests of handlers, on each kind of database."""

from collections.abc import Iterator

import pytest

from tests.handlers import Gateway


@pytest.fixture
def gateway(database_url: str) -> Iterator[Gateway]:
    opened = Gateway(database_url)
    yield opened
    opened.close()
