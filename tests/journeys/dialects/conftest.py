"""A network for the journeys. What a dialect does is the same on each kind of database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.partners import Partner
from gateway.terms import Terms
from tests import services, validity
from tests.journeys.dialects import Network
from tests.terms import TERMS

Opening = Callable[..., Network]


@pytest.fixture
def network(tmp_path: Path, sqlite_template: Path) -> Iterator[Opening]:
    """Opens a network of partners. At the end, every reply kept in it must be valid."""
    opened: list[Network] = []
    with services.sqlite_database(tmp_path, sqlite_template) as url:

        def open_network(*partners: Partner, terms: Terms = TERMS) -> Network:
            opened.append(Network(url, *partners, terms=terms))
            return opened[-1]

        yield open_network
        for one in opened:
            one.close()
        validity.assert_outbox_valid(url)
