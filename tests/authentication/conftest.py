"""One gateway for all tests of a module that leave nothing behind in it that others could see."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication import Gate, gate_in


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: str) -> Iterator[Gate]:
    """A gateway where proof is required."""
    with gate_in(tmp_path_factory.mktemp("gate"), sqlite_template, redis_server) as one:
        yield one
